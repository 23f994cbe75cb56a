/*
 * All SQL of the API, see store.h. State: prepared statements and how many writes in a row timed
 * out. A write may block for busy_timeout, and on the disk; reads never wait for writers (WAL). A
 * failure leaves the database as it was.
 */
#include "api/store.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/counters/gauges.h"
#include "shared/database/schema.h"

/* What part of busy_timeout to wait: at first, after one write has timed out, after two or more. */
static const int patience_parts[] = {1, 10, 40};
enum { LEAST_PATIENCE = sizeof(patience_parts) / sizeof(patience_parts[0]) - 1 };

enum statement {
	SNAPSHOT,
	COMMIT,
	REGISTER,
	UNREGISTER,
	RELAY_TOPIC,
	DROP_PAST_TOPICS,
	PUBLISH,
	ORDER,
	IS_REGISTERED,
	COUNT_SOCKETS,
	HAS_GATEWAY,
	ALL_TOPICS,
	ACTIVE_TOPICS,
	STATEMENTS
};

/* In all of them ?1 is the topic, and ?2 the time; ?4 of an order and of a count is the user. */
static const char *const sql[STATEMENTS] = {
	/* As long as this has a row to give, all that is read is of one moment. It ends by a reset,
	 * which needs no memory and cannot fail, as COMMIT can. */
	[SNAPSHOT] = "SELECT max(topics) FROM topic_count",
	[COMMIT] = "COMMIT",
	[REGISTER] = "INSERT INTO topics (topic, require_token, registered_ms, expires_ms) "
		     "SELECT ?1, ?3, ?2, ?4 WHERE EXISTS (SELECT 1 FROM topics WHERE topic = ?1) "
		     "OR (SELECT topics FROM topic_count) <= ?5 ON CONFLICT (topic) DO UPDATE SET "
		     "require_token = excluded.require_token, expires_ms = excluded.expires_ms, "
		     "registered_ms = CASE WHEN topics.expires_ms > excluded.registered_ms "
		     "THEN topics.registered_ms ELSE excluded.registered_ms END",
	[UNREGISTER] = "DELETE FROM topics WHERE topic = ?1",
	[RELAY_TOPIC] = "INSERT INTO topics_to_relay (topic) VALUES (?1) "
			"ON CONFLICT (topic) DO UPDATE SET changes = changes + 1",
	/* For when Redis has been away so long that there are more than can be registered. */
	[DROP_PAST_TOPICS] = "DELETE FROM topics_to_relay "
			     "WHERE (SELECT count(*) FROM topics_to_relay) > ?5 "
			     "AND topic NOT IN (SELECT topic FROM topics)",
	/* One statement, so one transaction: the topic is checked in the snapshot that the event is
	 * added to. */
	[PUBLISH] = "INSERT INTO events (kind, topic, payload, created_ms) "
		    "SELECT 0, ?1, ?3, ?2 FROM topics WHERE topic = ?1 AND expires_ms > ?2",
	[ORDER] = "INSERT INTO events (kind, topic, created_ms, user_id) VALUES (?3, ?1, ?2, ?4)",
	[IS_REGISTERED] =
		"SELECT EXISTS (SELECT 1 FROM topics WHERE topic = ?1 AND expires_ms > ?2)",
	[COUNT_SOCKETS] = "SELECT count(*) FROM " LIVE_SESSIONS
			  " AND (?1 IS NULL OR topic = ?1) AND (?4 IS NULL OR user_id = ?4)",
	[HAS_GATEWAY] = "SELECT EXISTS (SELECT 1 FROM gateways WHERE gateway_alive(pid))",
	[ALL_TOPICS] = "SELECT topic FROM topics WHERE expires_ms > ?2 ORDER BY topic LIMIT ?3",
	[ACTIVE_TOPICS] = "SELECT DISTINCT topic FROM " LIVE_SESSIONS " ORDER BY topic LIMIT ?3",
};

struct store {
	const struct config *config;
	struct database *database;
	sqlite3_stmt *statements[STATEMENTS];
	int timeouts; /* of the last writes in a row */
};

struct store *store_open(const struct config *config, struct database *database)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store->config = config;
	store->database = database;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &store->statements[i], sql[i]);
	return store;
}

void store_close(struct store *store)
{
	free(store);
}

/* The statement with the command's topic, and its user if there is one, in their places. */
static sqlite3_stmt *bound(struct store *store, enum statement which, const struct command *command)
{
	sqlite3_stmt *statement = store->statements[which];

	sqlite3_clear_bindings(statement);
	if (command->has_topic)
		sqlite3_bind_text64(statement, 1, command->topic, command->topic_len, SQLITE_STATIC,
				    SQLITE_UTF8);
	if (command->has_user)
		sqlite3_bind_int64(statement, 4, command->user_id);
	return statement;
}

/* Whether that one row was added or changed is in *done. */
static enum database_status run(struct store *store, sqlite3_stmt *statement, bool *done)
{
	enum database_status status = database_run(statement);

	*done = status == DATABASE_OK && sqlite3_changes(database_handle(store->database)) == 1;
	return status;
}

/* An event without a payload: an order to the gateways. */
static enum database_status add_order(struct store *store, enum event_kind kind,
				      const struct command *command, bool *done)
{
	sqlite3_stmt *order = bound(store, ORDER, command);

	sqlite3_bind_int64(order, 2, clock_wall_ms());
	sqlite3_bind_int(order, 3, (int)kind);
	return run(store, order, done);
}

/* In a cluster the gateway is to tell Redis of the topic. */
static enum database_status relay_topic(struct store *store, const struct command *command)
{
	sqlite3_stmt *drop = store->statements[DROP_PAST_TOPICS];
	enum database_status status = database_run(bound(store, RELAY_TOPIC, command));

	sqlite3_bind_int64(drop, 5, store->config->max_topics);
	return status == DATABASE_OK ? database_run(drop) : status;
}

/* What the command says, without the locks around it. */
static enum database_status apply(struct store *store, const struct command *command,
				  struct store_result *result)
{
	enum database_status status;
	sqlite3_stmt *statement;
	int64_t now_ms = clock_wall_ms();

	switch (command->kind) {
	case COMMAND_REGISTER:
		statement = bound(store, REGISTER, command);
		sqlite3_bind_int64(statement, 2, now_ms);
		sqlite3_bind_int(statement, 3, command->require_token);
		sqlite3_bind_int64(statement, 4, now_ms + store->config->topic_ttl_ms);
		sqlite3_bind_int64(statement, 5, store->config->max_topics);
		if (!*store->config->redis_url)
			return run(store, statement, &result->done);
		status = database_begin(store->database);
		if (status == DATABASE_OK)
			status = run(store, statement, &result->done);
		if (status == DATABASE_OK && result->done)
			status = relay_topic(store, command);
		return status == DATABASE_OK ? database_run(store->statements[COMMIT]) : status;
	case COMMAND_PUBLISH:
		statement = bound(store, PUBLISH, command);
		sqlite3_bind_int64(statement, 2, now_ms);
		sqlite3_bind_text64(statement, 3, command->payload.at, command->payload.len,
				    SQLITE_STATIC, SQLITE_UTF8);
		status = run(store, statement, &result->done);
		result->number = sqlite3_last_insert_rowid(database_handle(store->database));
		return status;
	case COMMAND_UNREGISTER: /* the row and the order in one transaction */
		status = database_begin(store->database);
		if (status == DATABASE_OK)
			status = database_run(bound(store, UNREGISTER, command));
		if (status == DATABASE_OK && *store->config->redis_url)
			status = relay_topic(store, command);
		if (status == DATABASE_OK)
			status = add_order(store, EVENT_UNREGISTER, command, &result->done);
		return status == DATABASE_OK ? database_run(store->statements[COMMIT]) : status;
	case COMMAND_DISCONNECT:
		break;
	}
	status = database_read_numbers(bound(store, COUNT_SOCKETS, command), &result->number, 1);
	return status == DATABASE_OK ? add_order(store, EVENT_DISCONNECT, command, &result->done)
				     : status;
}

enum database_status store_execute(struct store *store, const struct command *command,
				   struct store_result *result)
{
	int64_t wait_ms =
		(store->config->busy_timeout_ms - 1) / patience_parts[store->timeouts] + 1;
	int64_t deadline_ms = clock_monotonic_ms() + wait_ms;
	enum database_status status = database_write_begin(store->database, deadline_ms);

	*result = (struct store_result){.done = false};
	if (status == DATABASE_OK) {
		status = database_log_is_full(store->database) ? DATABASE_FULL
							       : apply(store, command, result);
		database_write_end(store->database);
	}
	/* What was committed must be on the disk before anybody is told. */
	if (status == DATABASE_OK && result->done)
		status = database_sync(store->database, deadline_ms);
	if (status != DATABASE_BUSY)
		store->timeouts = 0;
	else if (store->timeouts < LEAST_PATIENCE)
		store->timeouts++;
	if (status == DATABASE_OK || command->kind != COMMAND_PUBLISH || result->done)
		return status;
	/* A database that cannot be written can still be read, so an unknown topic is told from a
	 * locked database. */
	sqlite3_stmt *is_registered = bound(store, IS_REGISTERED, command);
	int64_t number = 1;
	sqlite3_bind_int64(is_registered, 2, clock_wall_ms());
	return database_read_numbers(is_registered, &number, 1) == DATABASE_OK && number == 0
		       ? DATABASE_OK
		       : status;
}

enum database_status store_read_begin(struct store *store)
{
	return database_status_of(sqlite3_step(store->statements[SNAPSHOT]));
}

void store_read_end(struct store *store)
{
	sqlite3_reset(store->statements[SNAPSHOT]);
}

enum database_status store_has_gateway(struct store *store, bool *has)
{
	int64_t number = 0;
	enum database_status status =
		database_read_numbers(store->statements[HAS_GATEWAY], &number, 1);

	*has = number != 0;
	return status;
}

enum database_status store_topics(struct store *store, bool active, int64_t limit,
				  store_topic_visitor *each, void *context)
{
	sqlite3_stmt *statement = store->statements[active ? ACTIVE_TOPICS : ALL_TOPICS];
	int result;

	sqlite3_bind_int64(statement, 2, clock_wall_ms());
	sqlite3_bind_int64(statement, 3, limit);
	while ((result = sqlite3_step(statement)) == SQLITE_ROW)
		each(context, (const char *)sqlite3_column_text(statement, 0),
		     (size_t)sqlite3_column_bytes(statement, 0));
	sqlite3_reset(statement);
	return database_status_of(result);
}
