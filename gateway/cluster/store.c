/*
 * The cluster's SQL, see store.h. State: prepared statements; what the row in `cluster` says, and
 * is to say; how far the other nodes have come, with what the open transaction adds to it. May
 * block on the disk, and for a moment on the write lock.
 */
#include "gateway/cluster/store.h"

#include <stdio.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/counters/totals.h"
#include "shared/database/id_jumps.h"

/* Other nodes' clocks may be wrong, and pruning goes by the time: within the last minute. */
enum { LATE_MS = 60000 };

enum statement {
	COMMIT,
	JOIN,
	LOAD,
	LOAD_NODES,
	LOOK,
	ADD,
	FORGET_TOPIC,
	PUT_NODE,
	FIND_DEAD_NODE,
	DROP_NODE,
	PUT_STATE,
	NEWEST,
	STATEMENTS
};

static const char *const sql[STATEMENTS] = {
	[COMMIT] = "COMMIT",
	[JOIN] = "UPDATE cluster SET (relayed_id, joined_id) = (SELECT max(id), max(id) FROM "
		 "events) "
		 "WHERE relayed_id IS NULL",
	[LOAD] = "SELECT node, joined_id, relayed_id, log_position, marker, cluster_nodes, "
		 "since_ms, "
		 "why FROM cluster",
	[LOAD_NODES] = "SELECT node, last_id FROM nodes WHERE last_id > 0",
	/* What is not asked for is not read: the payloads of others. */
	[LOOK] = "SELECT id, origin IS NULL AND kind <= 2, kind, topic, user_id, created_ms, "
		 "(SELECT gone_id FROM cluster), payload FROM events WHERE id > ?1 ORDER BY id",
	[ADD] = "INSERT INTO events (kind, topic, user_id, created_ms, origin, payload) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	/* What has been registered here and is not relayed yet, stays. */
	[FORGET_TOPIC] = "DELETE FROM topics WHERE topic = ?1 "
			 "AND NOT EXISTS (SELECT 1 FROM topics_to_relay WHERE topic = ?1)",
	[PUT_NODE] = "INSERT INTO nodes (node, last_id, missing_id) VALUES (?1, ?2, ?3) "
		     "ON CONFLICT (node) DO UPDATE SET last_id = excluded.last_id, "
		     "missing_id = max(missing_id, excluded.missing_id)",
	[FIND_DEAD_NODE] =
		"SELECT node FROM nodes WHERE last_id > 0 AND NOT is_alive ORDER BY EXISTS "
		"(SELECT 1 FROM events WHERE origin > node || '.' AND origin < node || '/'), "
		"started_ms IS NULL, started_ms LIMIT 1",
	[DROP_NODE] = "DELETE FROM nodes WHERE node = ?1",
	[PUT_STATE] =
		"UPDATE cluster SET relayed_id = ?1, log_position = ?2, marker = nullif(?3, ''), "
		"cluster_nodes = ?4, since_ms = nullif(?5, 0), why = nullif(?6, '') "
		"WHERE log_position = ?7",
	[NEWEST] = "SELECT max(id) FROM events",
};

/* Another node of ours. */
struct node {
	char id[NODE_ID_LEN + 1];
	int64_t last_id; /* committed */
	int64_t next_id; /* with what the transaction adds */
	int64_t missing_id; /* of the transaction; 0: nothing is missing */
};

struct cluster_store {
	struct database *database;
	struct counters *counters;
	struct totals *totals;
	sqlite3_stmt *statements[STATEMENTS];
	struct cluster_state state, written;
	char position[LOG_POSITION_SIZE]; /* as it stands there */
	bool is_ours; /* the state: no other process of this node writes it */
	bool is_overtaken; /* but one has */
	struct node nodes[CLUSTER_NODES_MAX];
	size_t node_count;
};

struct cluster_store *cluster_store_new(struct database *database, struct counters *counters)
{
	struct cluster_store *store = xcalloc(1, sizeof(*store));

	store->database = database;
	store->counters = counters;
	store->totals = totals_new(database);
	store->state.nodes = -1;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &store->statements[i], sql[i]);
	return store;
}

void cluster_store_free(struct cluster_store *store)
{
	if (store)
		totals_free(store->totals);
	free(store);
}

struct cluster_state *cluster_store_state(struct cluster_store *store)
{
	return &store->state;
}

/* Cut off at the end, if anybody has put something longer there. */
static void read_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(row, column);

	snprintf(out, size, "%s", text ? (const char *)text : "");
}

/* In the place of what is known; unless it is DATABASE_OK, that stays. */
static enum database_status load_nodes(struct cluster_store *store)
{
	sqlite3_stmt *row = store->statements[LOAD_NODES];
	struct node nodes[CLUSTER_NODES_MAX] = {0};
	size_t count = 0;
	int result = SQLITE_DONE;

	while (count < CLUSTER_NODES_MAX && (result = sqlite3_step(row)) == SQLITE_ROW) {
		read_text(row, 0, nodes[count].id, sizeof(nodes[count].id));
		nodes[count].last_id = nodes[count].next_id = sqlite3_column_int64(row, 1);
		count++;
	}
	sqlite3_reset(row);
	if (database_status_of(result) == DATABASE_OK) {
		memcpy(store->nodes, nodes, sizeof(nodes));
		store->node_count = count;
	}
	for (size_t i = 0; i < store->node_count; i++) {
		store->nodes[i].next_id = store->nodes[i].last_id;
		store->nodes[i].missing_id = 0;
	}
	return database_status_of(result);
}

static enum database_status load_state(struct cluster_store *store, bool *has_joined)
{
	sqlite3_stmt *row = store->statements[LOAD];
	struct cluster_state *state = &store->state;
	int result = sqlite3_step(row);

	if (result == SQLITE_ROW) {
		*state = (struct cluster_state){
			.joined_id = sqlite3_column_int64(row, 1),
			.relayed_id = sqlite3_column_int64(row, 2),
			.nodes = sqlite3_column_int64(row, 5),
			.since_ms = sqlite3_column_int64(row, 6),
		};
		read_text(row, 0, state->node, sizeof(state->node));
		*has_joined = sqlite3_column_type(row, 2) != SQLITE_NULL;
		read_text(row, 3, store->position, sizeof(store->position));
		log_position_read((struct slice){store->position, strlen(store->position)},
				  &state->position);
		read_text(row, 4, state->marker, sizeof(state->marker));
		read_text(row, 7, state->why, sizeof(state->why));
		store->written = *state;
	}
	sqlite3_reset(row);
	return result == SQLITE_DONE ? DATABASE_ERROR : database_status_of(result);
}

enum database_status cluster_store_load(struct cluster_store *store)
{
	bool has_joined = true;
	enum database_status status = load_state(store, &has_joined);

	if (status == DATABASE_OK && !has_joined) {
		status = cluster_store_begin(store);
		if (status != DATABASE_OK)
			return status;
		status = database_run(store->statements[JOIN]);
		if (status == DATABASE_OK)
			status = database_run(store->statements[COMMIT]);
		database_write_end(store->database);
		if (status == DATABASE_OK)
			status = load_state(store, &has_joined);
	}
	if (status == DATABASE_OK)
		status = load_nodes(store);
	store->is_ours = status == DATABASE_OK;
	store->is_overtaken = false;
	return status;
}

bool cluster_store_is_overtaken(const struct cluster_store *store)
{
	return store->is_overtaken;
}

void cluster_store_unload(struct cluster_store *store)
{
	store->is_ours = false;
}

void cluster_store_tell(struct cluster_store *store, int64_t nodes, const char *why)
{
	struct cluster_state *state = &store->state;

	if (!state->since_ms || !why != !state->why[0])
		state->since_ms = clock_wall_ms();
	state->nodes = why ? -1 : nodes;
	snprintf(state->why, sizeof(state->why), "%s", why ? why : "");
}

static struct slice column_slice(sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	return (struct slice){text, (size_t)sqlite3_column_bytes(row, column)};
}

enum database_status cluster_store_look(struct cluster_store *store, int64_t after_id,
					own_event_visitor *each, void *context, int64_t *looked_id)
{
	sqlite3_stmt *row = store->statements[LOOK];
	int result;

	*looked_id = after_id;
	sqlite3_bind_int64(row, 1, after_id);
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		struct log_entry event = {.id = sqlite3_column_int64(row, 0)};

		if (sqlite3_column_int(row, 1)) {
			memcpy(event.origin, store->state.node, sizeof(event.origin));
			event.kind = (enum event_kind)sqlite3_column_int(row, 2);
			event.topic = column_slice(row, 3);
			event.has_user = sqlite3_column_type(row, 4) != SQLITE_NULL;
			event.user = sqlite3_column_int64(row, 4);
			event.created_ms = sqlite3_column_int64(row, 5);
			event.payload = column_slice(row, 7);
			if (!each(context, &event, sqlite3_column_int64(row, 6)))
				break;
		}
		*looked_id = event.id;
	}
	sqlite3_reset(row);
	return database_status_of(result);
}

static struct node *find_node(const struct cluster_store *store, const char *id)
{
	for (size_t i = 0; i < store->node_count; i++)
		if (strcmp(store->nodes[i].id, id) == 0)
			return (struct node *)&store->nodes[i];
	return NULL;
}

enum entry_verdict cluster_store_judge(const struct cluster_store *store,
				       const struct log_entry *entry, bool may_miss)
{
	const struct node *node = find_node(store, entry->origin);

	return entry_judge(node ? node->next_id : 0, entry->id, entry->prev, may_miss);
}

enum database_status cluster_store_begin(struct cluster_store *store)
{
	enum database_status status =
		database_write_begin(store->database, clock_monotonic_ms() + CLUSTER_LOCK_WAIT_MS);

	if (status != DATABASE_OK)
		return status;
	status = database_log_is_full(store->database) ? DATABASE_FULL
						       : database_begin(store->database);
	if (status != DATABASE_OK)
		database_write_end(store->database);
	return status;
}

/* One that has gone makes room. */
static enum database_status drop_dead_node(struct cluster_store *store)
{
	sqlite3_stmt *find = store->statements[FIND_DEAD_NODE],
		     *drop = store->statements[DROP_NODE];
	char id[NODE_ID_LEN + 1] = "";
	int result = sqlite3_step(find);

	if (result == SQLITE_ROW)
		read_text(find, 0, id, sizeof(id));
	sqlite3_reset(find);
	struct node *node = find_node(store, id);
	if (!node)
		return database_status_of(result);
	sqlite3_bind_text(drop, 1, id, -1, SQLITE_STATIC);
	*node = store->nodes[--store->node_count];
	return database_run(drop);
}

/* *node: NULL when there are too many. */
static enum database_status take_node(struct cluster_store *store, const char *id,
				      struct node **node)
{
	enum database_status status = DATABASE_OK;

	*node = find_node(store, id);
	if (!*node && store->node_count == CLUSTER_NODES_MAX)
		status = drop_dead_node(store);
	if (!*node && store->node_count < CLUSTER_NODES_MAX) {
		*node = &store->nodes[store->node_count++];
		**node = (struct node){0};
		memcpy((*node)->id, id, sizeof((*node)->id));
	}
	return status;
}

static enum database_status add_event(struct cluster_store *store, enum event_kind kind,
				      const struct log_entry *entry, const char *origin)
{
	sqlite3_stmt *add = store->statements[ADD];
	int64_t now_ms = clock_wall_ms(), created_ms = entry->created_ms;

	if (created_ms > now_ms)
		created_ms = now_ms;
	if (created_ms < now_ms - LATE_MS)
		created_ms = now_ms - LATE_MS;
	sqlite3_clear_bindings(add);
	sqlite3_bind_int(add, 1, (int)kind);
	if (entry->topic.at)
		sqlite3_bind_text64(add, 2, entry->topic.at, entry->topic.len, SQLITE_STATIC,
				    SQLITE_UTF8);
	if (entry->has_user)
		sqlite3_bind_int64(add, 3, entry->user);
	sqlite3_bind_int64(add, 4, created_ms);
	sqlite3_bind_text(add, 5, origin, -1, SQLITE_STATIC);
	if (entry->payload.at)
		sqlite3_bind_text64(add, 6, entry->payload.at, entry->payload.len, SQLITE_STATIC,
				    SQLITE_UTF8);
	return database_run(add);
}

static enum database_status forget_topic(struct cluster_store *store, struct slice topic)
{
	sqlite3_stmt *forget = store->statements[FORGET_TOPIC];

	sqlite3_bind_text64(forget, 1, topic.at, topic.len, SQLITE_STATIC, SQLITE_UTF8);
	return database_run(forget);
}

enum { ORIGIN_SIZE = 2 * NODE_ID_LEN + 2 };

/* `events.origin` of that event of a node. */
static void origin_write(const char *node, int64_t id, char origin[ORIGIN_SIZE])
{
	snprintf(origin, ORIGIN_SIZE, "%s.%016lld", node, (long long)id);
}

enum database_status cluster_store_add(struct cluster_store *store, const struct log_entry *entry,
				       enum entry_verdict verdict, bool *is_refused)
{
	const struct log_entry nothing = {.created_ms = INT64_MAX};
	char origin[ORIGIN_SIZE];
	struct node *node;
	enum database_status status = take_node(store, entry->origin, &node);

	*is_refused = status == DATABASE_OK && !node;
	if (status != DATABASE_OK || !node)
		return status;
	if (verdict == ENTRY_AFTER_GAP) {
		origin_write(entry->origin, entry->prev, origin);
		status = add_event(store, EVENT_GAP, &nothing, origin);
	}
	if (verdict == ENTRY_AFTER_GAP || verdict == ENTRY_FIRST)
		node->missing_id = entry->prev;
	node->next_id = entry->id;
	origin_write(entry->origin, entry->id, origin);
	if (status == DATABASE_OK)
		status = add_event(store, entry->kind, entry, origin);
	if (status == DATABASE_OK && entry->kind == EVENT_UNREGISTER)
		status = forget_topic(store, entry->topic);
	return status;
}

enum database_status cluster_store_learn(struct cluster_store *store, const struct log_entry *entry,
					 bool *is_refused)
{
	struct node *node;
	enum database_status status = take_node(store, entry->origin, &node);

	*is_refused = status == DATABASE_OK && !node;
	if (node)
		node->next_id = node->missing_id = entry->id;
	return status;
}

enum database_status cluster_store_add_foreign(struct cluster_store *store, const char *origin,
					       struct slice topic, struct slice payload)
{
	const struct log_entry event = {
		.topic = topic, .payload = payload, .created_ms = clock_wall_ms()};

	return add_event(store, EVENT_PUSH, &event, origin);
}

static enum database_status put_nodes(struct cluster_store *store)
{
	sqlite3_stmt *put = store->statements[PUT_NODE];
	enum database_status status = DATABASE_OK;

	for (size_t i = 0; i < store->node_count && status == DATABASE_OK; i++) {
		const struct node *node = &store->nodes[i];

		if (node->next_id == node->last_id)
			continue;
		sqlite3_bind_text(put, 1, node->id, -1, SQLITE_STATIC);
		sqlite3_bind_int64(put, 2, node->next_id);
		sqlite3_bind_int64(put, 3, node->missing_id);
		status = database_run(put);
	}
	return status;
}

static bool is_state_written(const struct cluster_store *store)
{
	const struct cluster_state *a = &store->state, *b = &store->written;

	return !store->is_ours ||
	       (a->relayed_id == b->relayed_id && a->nodes == b->nodes &&
		a->since_ms == b->since_ms && log_position_compare(a->position, b->position) == 0 &&
		strcmp(a->marker, b->marker) == 0 && strcmp(a->why, b->why) == 0);
}

/* Only over what this process has read or written: two that take themselves for the relay, as when
 * somebody has deleted its lock, would take entries twice. */
static enum database_status put_state(struct cluster_store *store,
				      const char position[LOG_POSITION_SIZE])
{
	const struct cluster_state *state = &store->state;
	sqlite3_stmt *put = store->statements[PUT_STATE];
	enum database_status status;

	sqlite3_bind_int64(put, 1, state->relayed_id);
	sqlite3_bind_text(put, 2, position, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, state->marker, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 4, state->nodes);
	sqlite3_bind_int64(put, 5, state->since_ms);
	sqlite3_bind_text(put, 6, state->why, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 7, store->position, -1, SQLITE_STATIC);
	status = database_run(put);
	store->is_overtaken |=
		status == DATABASE_OK && sqlite3_changes(database_handle(store->database)) == 0;
	return store->is_overtaken ? DATABASE_BUSY : status;
}

enum database_status cluster_store_commit(struct cluster_store *store,
					  const struct log_position *position)
{
	struct log_position before = store->state.position;
	enum database_status status = put_nodes(store);
	char text[LOG_POSITION_SIZE];

	if (position)
		store->state.position = *position;
	log_position_write(store->state.position, text);
	if (status == DATABASE_OK && !is_state_written(store))
		status = put_state(store, text);
	if (status == DATABASE_OK && totals_are_due(store->totals, store->counters))
		status = totals_add(store->totals, store->counters);
	if (status == DATABASE_OK)
		status = database_run(store->statements[COMMIT]);
	if (status != DATABASE_OK) {
		store->state.position = before;
		cluster_store_give_up(store);
		return status;
	}
	database_write_end(store->database);
	totals_added(store->totals, store->counters);
	if (!is_state_written(store))
		memcpy(store->position, text, sizeof(text));
	store->written = store->state;
	for (size_t i = 0; i < store->node_count; i++) {
		store->nodes[i].last_id = store->nodes[i].next_id;
		store->nodes[i].missing_id = 0;
	}
	return status;
}

void cluster_store_give_up(struct cluster_store *store)
{
	database_write_end(store->database);
	load_nodes(store);
}

enum database_status cluster_store_flush(struct cluster_store *store)
{
	enum database_status status;

	if (is_state_written(store) && !totals_are_due(store->totals, store->counters))
		return DATABASE_OK;
	status = cluster_store_begin(store);
	return status == DATABASE_OK ? cluster_store_commit(store, NULL) : status;
}

enum database_status cluster_store_jump(struct cluster_store *store, int64_t known_id)
{
	char why[DATABASE_WHY_SIZE];
	enum database_status status =
		database_write_begin(store->database, clock_monotonic_ms() + CLUSTER_LOCK_WAIT_MS);

	if (status != DATABASE_OK)
		return status;
	status = ids_note(database_handle(store->database), known_id, why) ? DATABASE_OK
									   : DATABASE_ERROR;
	database_write_end(store->database);
	return status;
}

int64_t cluster_store_newest(struct cluster_store *store)
{
	int64_t newest = 0;

	database_read_numbers(store->statements[NEWEST], &newest, 1);
	return newest;
}
