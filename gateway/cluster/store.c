/*
 * This node in the database, see store.h. State: prepared statements; what the row in `cluster`
 * says, and is to say. May block on the disk, and for a moment on the write lock.
 */
#include "gateway/cluster/store.h"

#include <stdio.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/counters/totals.h"
#include "shared/database/id_jumps.h"

enum statement { COMMIT, JOIN, LOAD, LOOK, PUT_STATE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[COMMIT] = "COMMIT",
	[JOIN] = "UPDATE cluster SET (relayed_id, joined_id) = (SELECT max(id), max(id) FROM "
		 "events) "
		 "WHERE relayed_id IS NULL",
	[LOAD] = "SELECT node, joined_id, relayed_id, log_position, marker, cluster_nodes, "
		 "since_ms, "
		 "why FROM cluster",
	/* What is not asked for is not read: the payloads of others. */
	[LOOK] = "SELECT id, origin IS NULL AND kind <= 2, kind, topic, user_id, created_ms, "
		 "(SELECT gone_id FROM cluster), payload FROM events WHERE id > ?1 ORDER BY id",
	[PUT_STATE] =
		"UPDATE cluster SET relayed_id = ?1, log_position = ?2, marker = nullif(?3, ''), "
		"cluster_nodes = ?4, since_ms = nullif(?5, 0), why = nullif(?6, '') "
		"WHERE log_position = ?7",
};

struct cluster_store {
	struct database *database;
	struct counters *counters;
	struct totals *totals;
	sqlite3_stmt *statements[STATEMENTS];
	struct cluster_state state, written;
	char position[LOG_POSITION_SIZE]; /* as it stands there */
	bool is_ours; /* the state: no other process of this node writes it */
	int64_t looked_id; /* own events up to this one have been seen */
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

static enum database_status load_state(struct cluster_store *store)
{
	sqlite3_stmt *row = store->statements[LOAD];
	struct cluster_state *state = &store->state;
	int result = sqlite3_step(row);

	if (result == SQLITE_ROW) {
		*state = (struct cluster_state){
			.joined_id = sqlite3_column_int64(row, 1),
			.reached.relayed_id = sqlite3_column_int64(row, 2),
			.nodes = sqlite3_column_int64(row, 5),
			.since_ms = sqlite3_column_int64(row, 6),
		};
		read_text(row, 0, state->node, sizeof(state->node));
		read_text(row, 3, store->position, sizeof(store->position));
		log_position_read((struct slice){store->position, strlen(store->position)},
				  &state->reached.position);
		read_text(row, 4, state->marker, sizeof(state->marker));
		read_text(row, 7, state->why, sizeof(state->why));
		store->written = *state;
		store->looked_id = 0;
	}
	sqlite3_reset(row);
	return result == SQLITE_DONE ? DATABASE_ERROR : database_status_of(result);
}

enum database_status cluster_store_load(struct cluster_store *store)
{
	enum database_status status = cluster_store_begin(store);

	store->is_ours = false;
	if (status != DATABASE_OK)
		return status;
	status = cluster_store_end(store, database_run(store->statements[JOIN]), NULL);
	if (status == DATABASE_OK)
		status = load_state(store);
	store->is_ours = status == DATABASE_OK;
	return status;
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
		*looked_id = store->looked_id = event.id;
	}
	sqlite3_reset(row);
	return database_status_of(result);
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

/* Only over what this process has read or written: two that take themselves for the relay, as when
 * somebody has deleted its lock, would take entries twice. */
static enum database_status put_state(struct cluster_store *store,
				      const char position[LOG_POSITION_SIZE])
{
	struct cluster_state *state = &store->state;
	sqlite3_stmt *put = store->statements[PUT_STATE];
	enum database_status status;

	sqlite3_bind_int64(put, 1, state->reached.relayed_id);
	sqlite3_bind_text(put, 2, position, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, state->marker, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 4, state->nodes);
	sqlite3_bind_int64(put, 5, state->since_ms);
	sqlite3_bind_text(put, 6, state->why, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 7, store->position, -1, SQLITE_STATIC);
	status = database_run(put);
	state->is_overtaken |=
		status == DATABASE_OK && sqlite3_changes(database_handle(store->database)) == 0;
	return state->is_overtaken ? DATABASE_BUSY : status;
}

static bool is_state_written(const struct cluster_store *store)
{
	const struct cluster_state *a = &store->state, *b = &store->written;

	return !store->is_ours ||
	       (a->reached.relayed_id == b->reached.relayed_id && a->nodes == b->nodes &&
		a->since_ms == b->since_ms && strcmp(a->marker, b->marker) == 0 &&
		strcmp(a->why, b->why) == 0 &&
		log_position_compare(a->reached.position, b->reached.position) == 0);
}

/* Of a transaction in which all has gone well. */
static enum database_status commit(struct cluster_store *store)
{
	enum database_status status = DATABASE_OK;
	char position[LOG_POSITION_SIZE];

	log_position_write(store->state.reached.position, position);
	if (!is_state_written(store))
		status = put_state(store, position);
	if (status == DATABASE_OK && totals_are_due(store->totals, store->counters))
		status = totals_add(store->totals, store->counters);
	if (status == DATABASE_OK)
		status = database_run(store->statements[COMMIT]);
	if (status != DATABASE_OK)
		return status;
	totals_added(store->totals, store->counters);
	if (!is_state_written(store))
		memcpy(store->position, position, sizeof(position));
	store->written = store->state;
	return status;
}

enum database_status cluster_store_end(struct cluster_store *store, enum database_status status,
				       const struct log_reached *reached)
{
	const struct log_reached before = store->state.reached;

	if (reached)
		store->state.reached = *reached;
	if (status == DATABASE_OK)
		status = commit(store);
	database_write_end(store->database);
	if (status != DATABASE_OK)
		store->state.reached = before;
	return status;
}

enum database_status cluster_store_flush(struct cluster_store *store)
{
	enum database_status status;

	if (is_state_written(store) && !totals_are_due(store->totals, store->counters))
		return DATABASE_OK;
	status = cluster_store_begin(store);
	return status == DATABASE_OK ? cluster_store_end(store, status, NULL) : status;
}

enum database_status cluster_store_meet(struct cluster_store *store, int64_t own_id,
					bool *is_unknown)
{
	char why[DATABASE_WHY_SIZE];
	sqlite3 *handle = database_handle(store->database);
	enum database_status status;
	int64_t newest_id;
	bool is_done;

	*is_unknown = own_id > store->looked_id;
	if (*is_unknown && !ids_newest(handle, &newest_id))
		return database_status_of(sqlite3_errcode(handle));
	*is_unknown = *is_unknown && own_id > newest_id;
	if (!*is_unknown)
		return DATABASE_OK;
	status = database_write_begin(store->database, clock_monotonic_ms() + CLUSTER_LOCK_WAIT_MS);
	if (status != DATABASE_OK)
		return status;
	is_done = ids_note(database_handle(store->database), own_id, false, &newest_id, why);
	database_write_end(store->database);
	return is_done ? DATABASE_OK : DATABASE_ERROR;
}
