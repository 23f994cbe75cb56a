/*
 * Rows of gateways and sockets, see presence_rows.h. State: prepared statements, and how much of
 * the counters is in the totals already. A failure comes back as a status, after a rollback.
 */
#include "gateway/presence/presence_rows.h"

#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/version.h"
#include "shared/counters/totals.h"

enum statement {
	COMMIT,
	PUT_GATEWAY,
	DROP_GATEWAY,
	DROP_SESSIONS,
	DROP_DEAD_GATEWAYS,
	DROP_DEAD_SESSIONS,
	COUNT_TOPICS,
	PUT_SESSION,
	DROP_SESSION,
	STATEMENTS
};

static const char *const sql[STATEMENTS] = {
	[COMMIT] = "COMMIT",
	[PUT_GATEWAY] =
		"INSERT OR REPLACE INTO gateways (pid, version, address, started_ms, "
		"seen_ms, last_event_id, cluster_nodes, outbox_bytes, sockets, active_topics, "
		"clients) VALUES (?1, ?2, ?3, ?4, ?5, ?6, -1, ?7, ?8, ?9, ?10)",
	[DROP_GATEWAY] = "DELETE FROM gateways WHERE pid = ?1",
	[DROP_SESSIONS] = "DELETE FROM sessions WHERE gateway = ?1",
	[DROP_DEAD_GATEWAYS] = "DELETE FROM gateways WHERE pid <> ?1 AND NOT gateway_alive(pid)",
	[DROP_DEAD_SESSIONS] = "DELETE FROM sessions WHERE gateway = ?1 "
			       "OR gateway NOT IN (SELECT pid FROM gateways)",
	[COUNT_TOPICS] = "UPDATE topic_count SET topics = (SELECT count(*) FROM topics)",
	[PUT_SESSION] = "INSERT OR REPLACE INTO sessions (gateway, slot, topic, user_id, address, "
			"connected_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[DROP_SESSION] = "DELETE FROM sessions WHERE gateway = ?1 AND slot = ?2",
};

struct presence_rows {
	struct database *database;
	struct totals *totals;
	char *address;
	bool is_introduced; /* the gateways row has been written, the rows of dead gateways removed
			     */
	int64_t pid, started_ms;
	sqlite3_stmt *statements[STATEMENTS];
};

struct presence_rows *presence_rows_new(struct database *database, const char *address)
{
	struct presence_rows *rows = xcalloc(1, sizeof(*rows));

	rows->database = database;
	rows->totals = totals_new();
	totals_attach(rows->totals, database);
	rows->address = xstrdup(address); /* the listener closes before the thread */
	rows->pid = getpid();
	rows->started_ms = clock_wall_ms();
	for (size_t i = 0; i < STATEMENTS; i++)
		rows->statements[i] = database_prepare(database, sql[i]);
	return rows;
}

void presence_rows_free(struct presence_rows *rows)
{
	if (!rows)
		return;
	totals_free(rows->totals);
	free(rows->address);
	free(rows);
}

static enum database_status run_for(sqlite3_stmt *statement, int64_t pid)
{
	sqlite3_bind_int64(statement, 1, pid);
	return database_run(statement);
}

static enum database_status put_gateway(struct presence_rows *rows,
					const struct presence_batch *batch)
{
	sqlite3_stmt *put = rows->statements[PUT_GATEWAY];

	sqlite3_bind_int64(put, 1, rows->pid);
	sqlite3_bind_text(put, 2, WORKER_VERSION, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, rows->address, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 4, rows->started_ms);
	sqlite3_bind_int64(put, 5, clock_wall_ms());
	sqlite3_bind_int64(put, 6, batch->last_event_id);
	sqlite3_bind_int64(put, 7, batch->outbox_bytes);
	sqlite3_bind_int64(put, 8, batch->audience.sockets);
	sqlite3_bind_int64(put, 9, batch->audience.topics);
	sqlite3_bind_int64(put, 10, batch->audience.clients);
	return database_run(put);
}

/* Removes what killed gateways left behind, one with our own pid among them. */
static enum database_status introduce(struct presence_rows *rows)
{
	enum database_status status = run_for(rows->statements[DROP_DEAD_GATEWAYS], rows->pid);

	if (status == DATABASE_OK)
		status = run_for(rows->statements[DROP_DEAD_SESSIONS], rows->pid);
	return status == DATABASE_OK ? database_run(rows->statements[COUNT_TOPICS]) : status;
}

static enum database_status put_session(struct presence_rows *rows,
					const struct presence_change *change)
{
	const struct presence_session *session = &change->session;
	sqlite3_stmt *statement = rows->statements[session->topic ? PUT_SESSION : DROP_SESSION];
	char address[CLIENT_ADDRESS_TEXT_SIZE];

	if (!session->topic && !change->was_written)
		return DATABASE_OK; /* came and went unseen */
	sqlite3_bind_int64(statement, 1, rows->pid);
	sqlite3_bind_int64(statement, 2, change->slot);
	if (session->topic) {
		client_address_format(&session->address, address);
		sqlite3_bind_text(statement, 3, change->topic, session->topic_len, SQLITE_STATIC);
		sqlite3_bind_int64(statement, 4, session->user_id);
		sqlite3_bind_text(statement, 5, address, -1, SQLITE_STATIC);
		sqlite3_bind_int64(statement, 6, session->connected_ms);
		if (session->expires_s > 0 && session->expires_s < INT64_MAX / 1000)
			sqlite3_bind_int64(statement, 7, session->expires_s * 1000);
		else
			sqlite3_bind_null(statement, 7);
	}
	return database_run(statement);
}

static enum database_status put_all(struct presence_rows *rows, const struct presence_batch *batch)
{
	enum database_status status = database_begin(rows->database);

	if (status == DATABASE_OK && !rows->is_introduced)
		status = introduce(rows);
	for (size_t i = 0; i < batch->count && status == DATABASE_OK; i++)
		status = put_session(rows, &batch->changes[i]);
	if (status == DATABASE_OK)
		status = put_gateway(rows, batch);
	if (status == DATABASE_OK)
		status = totals_add(rows->totals, &batch->counters);
	return status == DATABASE_OK ? database_run(rows->statements[COMMIT]) : status;
}

enum database_status presence_rows_write(struct presence_rows *rows,
					 const struct presence_batch *batch)
{
	enum database_status status = database_write_begin(rows->database, 0);

	if (status != DATABASE_OK)
		return status;
	status = put_all(rows, batch);
	database_write_end(rows->database);
	if (status != DATABASE_OK)
		return status;
	rows->is_introduced = true;
	totals_added(rows->totals, &batch->counters);
	return DATABASE_OK;
}

enum database_status presence_rows_leave(struct presence_rows *rows,
					 const struct counters *counters)
{
	enum database_status status = database_write_begin(rows->database, 0);

	if (status != DATABASE_OK)
		return status;
	status = database_begin(rows->database);
	if (status == DATABASE_OK)
		status = run_for(rows->statements[DROP_SESSIONS], rows->pid);
	if (status == DATABASE_OK)
		status = run_for(rows->statements[DROP_GATEWAY], rows->pid);
	if (status == DATABASE_OK)
		status = totals_add(rows->totals, counters);
	if (status == DATABASE_OK)
		status = database_run(rows->statements[COMMIT]);
	database_write_end(rows->database);
	return status;
}
