/*
 * Taking in events of other nodes, see intake.h. State: prepared statements, and how far the nodes
 * have come, with what the open transaction adds to it.
 */
#include "gateway/cluster/intake.h"

#include <stdio.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

/* Other nodes' clocks may be wrong, and pruning goes by the time: within the last minute. */
enum { LATE_MS = 60000 };

enum statement { LOAD, KEPT, ADD, FORGET_TOPIC, PUT_NODE, DROP_DEAD_NODE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[LOAD] = "SELECT node, last_id FROM nodes WHERE last_id > 0",
	[KEPT] = "SELECT CAST(substr(max(origin), 18) AS INTEGER) FROM events "
		 "WHERE origin > ?1 || '.' AND origin < ?1 || '/'",
	[ADD] = "INSERT INTO events (kind, topic, user_id, created_ms, origin, payload) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	/* What has been registered here and is not relayed yet, stays. */
	[FORGET_TOPIC] = "DELETE FROM topics WHERE topic = ?1 "
			 "AND NOT EXISTS (SELECT 1 FROM topics_to_relay WHERE topic = ?1)",
	[PUT_NODE] = "INSERT INTO nodes (node, last_id, missing_id) VALUES (?1, ?2, ?3) "
		     "ON CONFLICT (node) DO UPDATE SET last_id = excluded.last_id, "
		     "missing_id = max(missing_id, excluded.missing_id)",
	[DROP_DEAD_NODE] =
		"DELETE FROM nodes WHERE node = (SELECT node FROM nodes "
		"WHERE last_id > 0 AND NOT is_alive ORDER BY EXISTS "
		"(SELECT 1 FROM events WHERE origin > node || '.' AND origin < node || '/'), "
		"started_ms IS NULL, started_ms LIMIT 1)",
};

struct node {
	char id[NODE_ID_LEN + 1];
	int64_t last_id, missing_id; /* 0: nothing more is missing */
	bool is_written;
};

struct intake {
	struct database *database;
	sqlite3_stmt *statements[STATEMENTS];
	struct node nodes[CLUSTER_NODES_MAX];
	size_t node_count;
};

struct intake *intake_new(struct database *database)
{
	struct intake *intake = xcalloc(1, sizeof(*intake));

	intake->database = database;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &intake->statements[i], sql[i]);
	return intake;
}

void intake_free(struct intake *intake)
{
	free(intake);
}

enum database_status intake_load(struct intake *intake)
{
	sqlite3_stmt *row = intake->statements[LOAD];
	int result = SQLITE_DONE;

	intake->node_count = 0;
	while (intake->node_count < CLUSTER_NODES_MAX &&
	       (result = sqlite3_step(row)) == SQLITE_ROW) {
		struct node *node = &intake->nodes[intake->node_count++];

		*node = (struct node){.last_id = sqlite3_column_int64(row, 1), .is_written = true};
		snprintf(node->id, sizeof(node->id), "%s",
			 (const char *)sqlite3_column_text(row, 0));
	}
	sqlite3_reset(row);
	return database_status_of(result);
}

static struct node *find_node(const struct intake *intake, const char *id)
{
	for (size_t i = 0; i < intake->node_count; i++)
		if (strcmp(intake->nodes[i].id, id) == 0)
			return (struct node *)&intake->nodes[i];
	return NULL;
}

/* A node that once made room for another is told by its events, for as long as they are kept. */
enum database_status intake_judge(const struct intake *intake, const struct log_entry *entry,
				  bool may_miss, enum entry_verdict *verdict)
{
	const struct node *node = find_node(intake, entry->origin);
	int64_t last_id = node ? node->last_id : 0;
	enum database_status status = DATABASE_OK;

	if (!node) {
		sqlite3_bind_text(intake->statements[KEPT], 1, entry->origin, -1, SQLITE_STATIC);
		status = database_read_numbers(intake->statements[KEPT], &last_id, 1);
	}
	*verdict = entry_judge(last_id, entry->id, entry->prev, may_miss);
	return status;
}

enum database_status intake_put(struct intake *intake)
{
	sqlite3_stmt *put = intake->statements[PUT_NODE];
	enum database_status status = DATABASE_OK;

	for (size_t i = 0; i < intake->node_count && status == DATABASE_OK; i++) {
		struct node *node = &intake->nodes[i];

		if (node->is_written)
			continue;
		sqlite3_bind_text(put, 1, node->id, -1, SQLITE_STATIC);
		sqlite3_bind_int64(put, 2, node->last_id);
		sqlite3_bind_int64(put, 3, node->missing_id);
		status = database_run(put);
		node->is_written = true;
		node->missing_id = 0;
	}
	return status;
}

/* One that has gone makes room, if there is any. */
static enum database_status make_room(struct intake *intake)
{
	enum database_status status = intake_put(intake);

	if (status == DATABASE_OK)
		status = database_run(intake->statements[DROP_DEAD_NODE]);
	return status == DATABASE_OK ? intake_load(intake) : status;
}

static void bind_slice(sqlite3_stmt *statement, int column, struct slice text)
{
	sqlite3_bind_text64(statement, column, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

/* `kind` and `id` in the place of the entry's; 0: its node gives none. */
static enum database_status add_event(struct intake *intake, enum event_kind kind, int64_t id,
				      const struct log_entry *entry)
{
	sqlite3_stmt *add = intake->statements[ADD];
	int64_t now_ms = clock_wall_ms(), created_ms = entry->created_ms;
	char origin[2 * NODE_ID_LEN + 2];

	if (created_ms > now_ms)
		created_ms = now_ms;
	if (created_ms < now_ms - LATE_MS)
		created_ms = now_ms - LATE_MS;
	snprintf(origin, sizeof(origin), id ? "%s.%016lld" : "%s", entry->origin, (long long)id);
	sqlite3_clear_bindings(add);
	sqlite3_bind_int(add, 1, (int)kind);
	bind_slice(add, 2, entry->topic);
	if (entry->has_user)
		sqlite3_bind_int64(add, 3, entry->user);
	sqlite3_bind_int64(add, 4, created_ms);
	sqlite3_bind_text(add, 5, origin, -1, SQLITE_STATIC);
	bind_slice(add, 6, entry->payload);
	return database_run(add);
}

enum database_status intake_add(struct intake *intake, const struct log_entry *entry,
				enum entry_verdict verdict, bool *is_refused)
{
	struct log_entry gap = {.created_ms = INT64_MAX};
	struct node *node = find_node(intake, entry->origin);
	enum database_status status = DATABASE_OK;

	if (!node && intake->node_count == CLUSTER_NODES_MAX)
		status = make_room(intake);
	*is_refused = !node && intake->node_count == CLUSTER_NODES_MAX;
	if (status != DATABASE_OK || *is_refused)
		return status;
	if (!node) {
		node = &intake->nodes[intake->node_count++];
		*node = (struct node){0};
		memcpy(node->id, entry->origin, sizeof(node->id));
	}
	node->last_id = entry->id;
	node->is_written = false;
	if (verdict != ENTRY_NEW)
		node->missing_id = verdict == ENTRY_BEFORE_US ? entry->id : entry->prev;
	if (verdict == ENTRY_AFTER_GAP) {
		memcpy(gap.origin, entry->origin, sizeof(gap.origin));
		status = add_event(intake, EVENT_GAP, entry->prev, &gap);
	}
	if (status == DATABASE_OK && verdict != ENTRY_BEFORE_US)
		status = add_event(intake, entry->kind, entry->id, entry);
	if (status == DATABASE_OK && verdict != ENTRY_BEFORE_US &&
	    entry->kind == EVENT_UNREGISTER) {
		bind_slice(intake->statements[FORGET_TOPIC], 1, entry->topic);
		status = database_run(intake->statements[FORGET_TOPIC]);
	}
	return status;
}

enum database_status intake_add_foreign(struct intake *intake, const char *origin,
					struct slice topic, struct slice payload)
{
	struct log_entry event = {
		.topic = topic, .payload = payload, .created_ms = clock_wall_ms()};

	memcpy(event.origin, origin, sizeof(event.origin));
	return add_event(intake, EVENT_PUSH, 0, &event);
}
