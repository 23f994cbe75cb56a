/*
 * All SQL of the API, see store.h. State: prepared statements and how many writes in a row timed
 * out. A write may block for busy_timeout, and on the disk; reads never wait for writers (WAL).
 * Failures are STORE_UNAVAILABLE with a reason; they leave the database as it was.
 */
#include "api/store.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/schema.h"

/* How much of busy_timeout to wait: at first, after one write has timed out, after two or more. */
static const int patience_parts[] = {1, 10, 40};
enum { LEAST_PATIENCE = sizeof(patience_parts) / sizeof(patience_parts[0]) - 1 };

struct store {
	const struct config *config;
	struct database *database;
	struct gauge_reader *gauges;
	enum database_status last; /* of the last operation */
	int64_t deadline_ms; /* of the current write */
	int timeouts; /* of the last writes in a row */

	sqlite3_stmt *begin_read, *commit;
	sqlite3_stmt *register_topic;
	sqlite3_stmt *delete_topic, *add_event;
	sqlite3_stmt *publish, *is_registered;
	sqlite3_stmt *all_topics, *active_topics, *count_sockets;
};

/* Remembers the status for store_why. */
static enum store_outcome outcome_of(struct store *store, enum database_status status)
{
	store->last = status;
	return status == DATABASE_OK ? STORE_OK : STORE_UNAVAILABLE;
}

static void prepare_statements(struct store *store)
{
	struct database *database = store->database;

	store->commit = database_prepare(database, "COMMIT");
	store->count_sockets = database_prepare(
		database, "SELECT count(*) FROM " LIVE_SESSIONS
			  " AND (?1 IS NULL OR topic = ?1) AND (?2 IS NULL OR user_id = ?2)");
	store->register_topic = database_prepare(
		database,
		"INSERT INTO topics (topic, require_token, registered_ms, expires_ms) "
		"SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM topics WHERE topic = ?1) "
		"OR (SELECT topics FROM topic_count) <= ?5 ON CONFLICT (topic) DO UPDATE SET "
		"require_token = excluded.require_token, expires_ms = excluded.expires_ms, "
		"registered_ms = CASE WHEN topics.expires_ms > excluded.registered_ms "
		"THEN topics.registered_ms ELSE excluded.registered_ms END");
	store->delete_topic = database_prepare(database, "DELETE FROM topics WHERE topic = ?1");
	store->add_event =
		database_prepare(database, "INSERT INTO events (kind, topic, created_ms, user_id) "
					   "VALUES (?1, ?2, ?3, ?4)");
	/* One statement, so one transaction: the topic is checked in the snapshot that the event is
	 * added to. */
	store->publish = database_prepare(
		database, "INSERT INTO events (kind, topic, payload, created_ms) "
			  "SELECT 0, ?1, ?2, ?3 FROM topics WHERE topic = ?1 AND expires_ms > ?3");
	store->is_registered = database_prepare(
		database, "SELECT 1 FROM topics WHERE topic = ?1 AND expires_ms > ?2");
	store->begin_read = database_prepare(database, "BEGIN");
	store->all_topics = database_prepare(
		database, "SELECT topic FROM topics WHERE expires_ms > ?1 ORDER BY topic LIMIT ?2");
	store->active_topics =
		database_prepare(database, "SELECT DISTINCT topic FROM " LIVE_SESSIONS
					   " AND ?1 NOT NULL ORDER BY topic LIMIT ?2");
}

struct store *store_open(const struct config *config, struct database *database,
			 struct liveness *liveness)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store->config = config;
	store->database = database;
	store->gauges =
		gauge_reader_new(database, liveness); /* whose function the statements use */
	prepare_statements(store);
	return store;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	gauge_reader_free(store->gauges);
	free(store);
}

const char *store_why(const struct store *store)
{
	return database_status_text(store->last);
}

static void note_timeout(struct store *store, bool timed_out)
{
	if (!timed_out)
		store->timeouts = 0;
	else if (store->timeouts < LEAST_PATIENCE)
		store->timeouts++;
}

static enum database_status begin_write(struct store *store)
{
	int64_t wait_ms =
		(store->config->busy_timeout_ms - 1) / patience_parts[store->timeouts] + 1;
	enum database_status status;

	store->deadline_ms = clock_monotonic_ms() + wait_ms;
	status = database_write_begin(store->database, store->deadline_ms);
	if (status == DATABASE_BUSY)
		note_timeout(store, true);
	return status;
}

/* `changed`: something was committed that must be on the disk before anybody is told. Returns the
 * outcome of it all. */
static enum database_status end_write(struct store *store, enum database_status status,
				      bool changed)
{
	database_write_end(store->database);
	if (status == DATABASE_OK && changed)
		status = database_sync(store->database, store->deadline_ms);
	note_timeout(store, status == DATABASE_BUSY);
	return status;
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text, size_t len)
{
	sqlite3_bind_text64(statement, index, text, len, SQLITE_STATIC, SQLITE_UTF8);
}

enum store_outcome store_register(struct store *store, const char *topic, size_t topic_len,
				  bool require_token)
{
	int64_t now_ms = clock_wall_ms();
	enum database_status status = begin_write(store);

	if (status != DATABASE_OK)
		return outcome_of(store, status);
	bind_text(store->register_topic, 1, topic, topic_len);
	sqlite3_bind_int(store->register_topic, 2, require_token);
	sqlite3_bind_int64(store->register_topic, 3, now_ms);
	sqlite3_bind_int64(store->register_topic, 4, now_ms + store->config->topic_ttl_ms);
	sqlite3_bind_int64(store->register_topic, 5, store->config->max_topics);
	status = database_run(store->register_topic);
	bool done = sqlite3_changes(database_handle(store->database)) == 1;
	status = end_write(store, status, done);
	if (status == DATABASE_OK && !done)
		return STORE_TOO_MANY_TOPICS;
	return outcome_of(store, status);
}

/* An event without a payload: an order to the gateways. */
static enum database_status add_order(struct store *store, enum event_kind kind, const char *topic,
				      size_t topic_len, const int64_t *user_id)
{
	sqlite3_stmt *add = store->add_event;

	sqlite3_bind_int(add, 1, (int)kind);
	bind_text(add, 2, topic, topic_len); /* NULL stays NULL */
	sqlite3_bind_int64(add, 3, clock_wall_ms());
	if (user_id)
		sqlite3_bind_int64(add, 4, *user_id);
	else
		sqlite3_bind_null(add, 4);
	return database_run(add);
}

/* Removes the row and adds the order to the gateways in one transaction. */
static enum database_status remove_topic(struct store *store, const char *topic, size_t topic_len)
{
	enum database_status status = database_begin(store->database);

	if (status != DATABASE_OK)
		return status;
	bind_text(store->delete_topic, 1, topic, topic_len);
	status = database_run(store->delete_topic);
	if (status != DATABASE_OK)
		return status;
	status = add_order(store, EVENT_UNREGISTER, topic, topic_len, NULL);
	return status == DATABASE_OK ? database_run(store->commit) : status;
}

enum store_outcome store_unregister(struct store *store, const char *topic, size_t topic_len)
{
	enum database_status status = begin_write(store);

	if (status != DATABASE_OK)
		return outcome_of(store, status);
	status = remove_topic(store, topic, topic_len);
	return outcome_of(store, end_write(store, status, true));
}

/* A database that cannot be written can still be read, so an unknown topic is told from a locked
 * database. */
static enum store_outcome refuse_publish(struct store *store, enum database_status why,
					 const char *topic, size_t topic_len)
{
	bind_text(store->is_registered, 1, topic, topic_len);
	sqlite3_bind_int64(store->is_registered, 2, clock_wall_ms());
	int result = sqlite3_step(store->is_registered);
	sqlite3_reset(store->is_registered);
	store->last = why;
	return result == SQLITE_DONE ? STORE_NOT_REGISTERED : STORE_UNAVAILABLE;
}

enum store_outcome store_publish(struct store *store, const char *topic, size_t topic_len,
				 const char *payload, size_t payload_len, int64_t *id)
{
	sqlite3 *handle = database_handle(store->database);
	enum database_status status = begin_write(store);
	bool registered = false;

	if (status != DATABASE_OK)
		return refuse_publish(store, status, topic, topic_len);
	bind_text(store->publish, 1, topic, topic_len);
	bind_text(store->publish, 2, payload, payload_len);
	sqlite3_bind_int64(store->publish, 3, clock_wall_ms());
	status = database_run(store->publish);
	if (status == DATABASE_OK) {
		registered = sqlite3_changes(handle) == 1;
		*id = sqlite3_last_insert_rowid(handle);
	}
	status = end_write(store, status, registered);
	if (status == DATABASE_OK && !registered)
		return STORE_NOT_REGISTERED;
	return registered ? outcome_of(store, status)
			  : refuse_publish(store, status, topic, topic_len);
}

static enum database_status count_sockets(struct store *store, const struct store_target *target,
					  int64_t *sockets)
{
	sqlite3_stmt *count = store->count_sockets;

	bind_text(count, 1, target->topic, target->topic_len);
	if (target->user_id)
		sqlite3_bind_int64(count, 2, *target->user_id);
	else
		sqlite3_bind_null(count, 2);
	int result = sqlite3_step(count);
	if (result == SQLITE_ROW)
		*sockets = sqlite3_column_int64(count, 0);
	sqlite3_reset(count);
	return database_status_of(result);
}

enum store_outcome store_disconnect(struct store *store, const struct store_target *target,
				    int64_t *sockets)
{
	enum database_status status = begin_write(store);

	if (status != DATABASE_OK)
		return outcome_of(store, status);
	status = count_sockets(store, target, sockets);
	if (status == DATABASE_OK)
		status = add_order(store, EVENT_DISCONNECT, target->topic, target->topic_len,
				   target->user_id);
	return outcome_of(store, end_write(store, status, true));
}

enum store_outcome store_read_begin(struct store *store)
{
	return outcome_of(store, database_run(store->begin_read));
}

/* What fails here is mended by the next write, which rolls back first. */
void store_read_end(struct store *store)
{
	if (sqlite3_get_autocommit(database_handle(store->database)) == 0)
		database_run(store->commit);
}

enum store_outcome store_gauges(struct store *store, struct gauges *gauges)
{
	return outcome_of(store, gauges_read(store->gauges, gauges));
}

enum store_outcome store_all_gauges(struct store *store, struct gauges *gauges)
{
	return outcome_of(store, gauges_read_all(store->gauges, gauges));
}

enum store_outcome store_totals(struct store *store, struct totals *totals, struct counters *sums)
{
	return outcome_of(store, totals_read(totals, sums));
}

enum store_outcome store_topics(struct store *store, bool active, int64_t limit,
				store_topic_visitor *each, void *context)
{
	sqlite3_stmt *statement = active ? store->active_topics : store->all_topics;
	int result;

	sqlite3_bind_int64(statement, 1, clock_wall_ms());
	sqlite3_bind_int64(statement, 2, limit);
	while ((result = sqlite3_step(statement)) == SQLITE_ROW)
		each(context, (const char *)sqlite3_column_text(statement, 0),
		     (size_t)sqlite3_column_bytes(statement, 0));
	sqlite3_reset(statement);
	return outcome_of(store, database_status_of(result));
}
