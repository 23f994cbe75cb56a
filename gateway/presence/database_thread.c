/*
 * The database thread of the gateway, see database_thread.h. State: its own connection, prepared
 * statements, what was written last, and how much of the counters is in the totals already. It
 * waits only in presence_wait; a lock that is not free is tried again soon after. About once a
 * second it takes a step of housekeeping. What fails is rolled back.
 */
#include "gateway/presence/database_thread.h"

#include <pthread.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"
#include "shared/base/version.h"
#include "shared/counters/totals.h"

enum { HOUSEKEEPING_MS = 1000, GOODBYE_MS = 1000, GOODBYE_RETRY_MS = 25 };

enum statement {
	COMMIT,
	PUT_GATEWAY,
	DROP_SESSIONS, /* these two when we end */
	DROP_GATEWAY,
	DROP_DEAD_GATEWAYS, /* these three at the start: what killed ones left, of our pid too */
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
	[DROP_DEAD_GATEWAYS] = "DELETE FROM gateways WHERE pid <> ?1 AND NOT gateway_exists(pid)",
	[DROP_DEAD_SESSIONS] = "DELETE FROM sessions WHERE gateway = ?1 "
			       "OR gateway NOT IN (SELECT pid FROM gateways)",
	[COUNT_TOPICS] = "UPDATE topic_count SET topics = (SELECT count(*) FROM topics)",
	[PUT_SESSION] = "INSERT OR REPLACE INTO sessions (gateway, slot, topic, user_id, address, "
			"connected_ms, expires_ms, transport) "
			"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[DROP_SESSION] = "DELETE FROM sessions WHERE gateway = ?1 AND slot = ?2",
};

struct database_thread {
	struct presence *presence;
	struct database *database;
	struct housekeeping *housekeeping;
	struct cluster_reader *cluster; /* NULL: there is no redis_url */
	struct gauge_reader *gauges;
	struct totals *totals;
	char *address;
	int times_lost; /* see database_times_lost */
	bool is_introduced; /* its row has been written, those of dead gateways have been removed */
	int64_t pid, started_ms;
	sqlite3_stmt *statements[STATEMENTS];
	struct presence_batch batch;
	int64_t kept_at_ms;
	struct log_repeat trouble;
	pthread_t id;
	bool is_started;
};

/* Whether a gateway is still there; one that hangs is. */
static void gateway_exists(sqlite3_context *context, int count, sqlite3_value **values)
{
	struct liveness *liveness = sqlite3_user_data(context);

	(void)count;
	sqlite3_result_int(context, liveness_exists(liveness, sqlite3_value_int64(values[0])));
}

struct database_thread *database_thread_open(const struct config *config, struct liveness *liveness,
					     struct presence *presence, const char *address,
					     char why[DATABASE_WHY_SIZE])
{
	struct database *database = database_open(config, DATABASE_START_WAIT_MS, why);
	struct database_thread *thread;

	if (!database)
		return NULL;
	thread = xcalloc(1, sizeof(*thread));
	*thread = (struct database_thread){
		.presence = presence,
		.database = database,
		.housekeeping = housekeeping_new(database),
		.cluster = *config->redis_url ? cluster_reader_new(database) : NULL,
		.totals = totals_new(database),
		.address = xstrdup(address), /* the listener closes before the thread */
		.pid = getpid(),
		.started_ms = clock_wall_ms(),
		.trouble = {.level = LOG_ERROR, .message = "cannot write to the database"},
	};
	thread->gauges = gauge_reader_new(database, liveness, thread->cluster);
	database_add_function(database, (struct database_function){.name = "gateway_exists",
								   .call = gateway_exists,
								   .context = liveness});
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &thread->statements[i], sql[i]);
	if (database_is_prepared(database, why))
		return thread;
	database_thread_close(thread);
	return NULL;
}

void database_thread_start(struct database_thread *thread)
{
	if (pthread_create(&thread->id, NULL, database_thread_run, thread) != 0)
		end_for_want_of("threads");
	thread->is_started = true;
}

void database_thread_close(struct database_thread *thread)
{
	if (!thread)
		return;
	if (thread->is_started) {
		presence_ask(thread->presence, PRESENCE_END);
		pthread_join(thread->id, NULL);
	}
	totals_free(thread->totals);
	gauge_reader_free(thread->gauges);
	cluster_reader_free(thread->cluster);
	housekeeping_free(thread->housekeeping);
	database_close(thread->database);
	free(thread->address);
	free(thread);
}

/* Runs the statements from `first` to `last`, whose only parameter, if they have one, is our pid.
 */
static enum database_status run_from(struct database_thread *thread, enum statement first,
				     enum statement last)
{
	enum database_status status = DATABASE_OK;

	for (size_t i = first; i <= last && status == DATABASE_OK; i++) {
		sqlite3_bind_int64(thread->statements[i], 1, thread->pid);
		status = database_run(thread->statements[i]);
	}
	return status;
}

static enum database_status put_gateway(struct database_thread *thread)
{
	const struct presence_numbers *numbers = &thread->batch.numbers;
	sqlite3_stmt *put = thread->statements[PUT_GATEWAY];

	sqlite3_bind_int64(put, 1, thread->pid);
	sqlite3_bind_text(put, 2, WORKER_VERSION, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, thread->address, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 4, thread->started_ms);
	sqlite3_bind_int64(put, 5, clock_wall_ms());
	sqlite3_bind_int64(put, 6, numbers->last_event_id);
	sqlite3_bind_int64(put, 7, numbers->outbox_bytes);
	sqlite3_bind_int64(put, 8, numbers->audience.sockets);
	sqlite3_bind_int64(put, 9, numbers->audience.topics);
	sqlite3_bind_int64(put, 10, numbers->audience.clients);
	return database_run(put);
}

static enum database_status put_session(struct database_thread *thread,
					const struct presence_change *change)
{
	const struct presence_session *session = &change->session;
	sqlite3_stmt *statement = thread->statements[session->topic ? PUT_SESSION : DROP_SESSION];
	char address[CLIENT_ADDRESS_TEXT_SIZE];

	if (!session->topic && !change->was_written)
		return DATABASE_OK; /* came and went unseen */
	sqlite3_bind_int64(statement, 1, thread->pid);
	sqlite3_bind_int64(statement, 2, change->slot);
	if (session->topic) {
		client_address_format(&session->address, address);
		sqlite3_bind_text(statement, 3, change->topic, session->topic_len, SQLITE_STATIC);
		sqlite3_bind_int64(statement, 4, session->user_id);
		sqlite3_bind_text(statement, 5, address, -1, SQLITE_STATIC);
		sqlite3_bind_int(statement, 8, session->transport);
		sqlite3_bind_int64(statement, 6, session->connected_ms);
		if (session->expires_s > 0 && session->expires_s < INT64_MAX / 1000)
			sqlite3_bind_int64(statement, 7, session->expires_s * 1000);
		else
			sqlite3_bind_null(statement, 7);
	}
	return database_run(statement);
}

/* All that was taken, in one transaction; or, at the end, the removal of our rows. Nothing is
 * written unless it is DATABASE_OK. */
static enum database_status write_rows(struct database_thread *thread, bool is_leaving)
{
	const struct presence_batch *batch = &thread->batch;
	enum database_status status = database_write_begin(thread->database, 0);

	if (status != DATABASE_OK)
		return status;
	status = database_begin(thread->database);
	if (status == DATABASE_OK && !thread->is_introduced)
		status = run_from(thread, DROP_DEAD_GATEWAYS, COUNT_TOPICS);
	for (size_t i = 0; i < batch->count && status == DATABASE_OK && !is_leaving; i++)
		status = put_session(thread, &batch->changes[i]);
	if (status == DATABASE_OK)
		status = is_leaving ? run_from(thread, DROP_SESSIONS, DROP_GATEWAY)
				    : put_gateway(thread);
	if (status == DATABASE_OK)
		status = totals_add(thread->totals, &batch->numbers.counters);
	if (status == DATABASE_OK)
		status = database_run(thread->statements[COMMIT]);
	database_write_end(thread->database);
	if (status == DATABASE_OK) {
		thread->is_introduced = true;
		totals_added(thread->totals, &batch->numbers.counters);
	}
	return status;
}

/* It does not matter if others hold the lock: it is tried again. */
static void note(struct database_thread *thread, enum database_status status)
{
	if (status == DATABASE_OK)
		log_repeat_ends(&thread->trouble, clock_monotonic_ms(),
				"the database can be written again");
	else if (status == DATABASE_FULL)
		housekeeping_make_room(thread->housekeeping);
	if (status != DATABASE_OK && status != DATABASE_BUSY)
		log_repeat_event(&thread->trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)),
				 log_text("sqlite", database_error(thread->database)));
}

/* One transaction, if there is anything to write. True when there is more, or this has to be tried
 * again. */
static bool write_changes(struct database_thread *thread)
{
	struct presence_batch *batch = &thread->batch;
	enum database_status status;

	presence_take(thread->presence, batch);
	if (!batch->has_news && thread->is_introduced)
		return false;
	status = write_rows(thread, false);
	note(thread, status);
	batch->has_news = status != DATABASE_OK;
	if (status != DATABASE_OK)
		presence_give_back(thread->presence, batch);
	return status != DATABASE_OK || batch->count == PRESENCE_BATCH;
}

static void keep_house(struct database_thread *thread)
{
	int64_t now_ms = clock_monotonic_ms();
	enum database_status status;
	bool more;

	if (now_ms - thread->kept_at_ms < HOUSEKEEPING_MS)
		return;
	database_look_after(thread->database, 0);
	if (database_times_lost(thread->database) != thread->times_lost) {
		thread->times_lost = database_times_lost(thread->database);
		thread->is_introduced = false;
		presence_write_again(thread->presence);
	}
	status = housekeeping_step(thread->housekeeping, thread->batch.limits, clock_wall_ms(), 0,
				   &more);
	if (status != DATABASE_OK) /* having had nothing to do does not end the trouble */
		note(thread, status);
	if (!more)
		thread->kept_at_ms = now_ms;
}

void *database_thread_run(void *argument)
{
	struct database_thread *thread = argument;
	struct gauges gauges;
	unsigned work = 0;

	while (!(work & PRESENCE_END)) {
		bool is_retry = write_changes(thread);

		if (work & PRESENCE_QUESTION) {
			bool is_known = gauges_read(thread->gauges, &gauges) == DATABASE_OK;
			presence_answer_gauges(thread->presence, is_known ? &gauges : NULL);
		}
		keep_house(thread);
		work = presence_wait(thread->presence, is_retry);
	}
	/* A gateway that ends in order leaves no rows; if the lock cannot be had in time, its
	 * successor clears them. */
	int64_t give_up_ms = clock_monotonic_ms() + GOODBYE_MS;
	presence_take(thread->presence, &thread->batch);
	while (write_rows(thread, true) == DATABASE_BUSY && clock_monotonic_ms() < give_up_ms)
		usleep(GOODBYE_RETRY_MS * 1000);
	return NULL;
}
