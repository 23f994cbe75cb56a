/*
 * The database thread of the gateway, see database_thread.h. State: its own connection, and what it
 * writes and reads with. It waits only in presence_wait; a lock that is not free is tried again
 * soon after. About once a second it takes a step of housekeeping, and every few seconds it writes
 * that the gateway is alive.
 */
#include "gateway/presence/database_thread.h"

#include <pthread.h>
#include <unistd.h>

#include "gateway/presence/presence_rows.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum {
	HOUSEKEEPING_MS = 1000,
	SEEN_MS = 5000, /* the gateways row is written at least this often */
	GOODBYE_MS = 1000,
	GOODBYE_RETRY_MS = 25
};

struct database_thread {
	struct presence *presence;
	struct database *database;
	struct housekeeping *housekeeping;
	struct gauge_reader *gauges;
	struct presence_rows *rows;
	struct presence_batch batch;
	int64_t seen_at_ms, kept_at_ms;
	struct log_repeat trouble;
	pthread_t id;
	bool is_started;
};

struct database_thread *database_thread_open(const struct config *config, struct liveness *liveness,
					     struct presence *presence, const char *address,
					     char why[DATABASE_WHY_SIZE])
{
	struct database *database = database_open(config, why);
	struct database_thread *thread;

	if (!database)
		return NULL;
	thread = xcalloc(1, sizeof(*thread));
	thread->trouble =
		(struct log_repeat){.level = LOG_ERROR, .message = "cannot write to the database"};
	thread->presence = presence;
	thread->database = database;
	thread->housekeeping = housekeeping_new(database, housekeeping_limits_of(config));
	thread->gauges = gauge_reader_new(database, liveness);
	thread->rows = presence_rows_new(database, address);
	thread->seen_at_ms = -SEEN_MS;
	if (database_is_prepared(database, why))
		return thread;
	database_thread_close(thread);
	return NULL;
}

static void *run(void *argument)
{
	database_thread_run(argument);
	return NULL;
}

void database_thread_start(struct database_thread *thread)
{
	if (pthread_create(&thread->id, NULL, run, thread) != 0) {
		fputs("cannot start a thread\n", stderr);
		abort();
	}
	thread->is_started = true;
}

void database_thread_close(struct database_thread *thread)
{
	if (!thread)
		return;
	if (thread->is_started) {
		presence_end(thread->presence);
		pthread_join(thread->id, NULL);
	}
	presence_rows_free(thread->rows);
	gauge_reader_free(thread->gauges);
	housekeeping_free(thread->housekeeping);
	database_close(thread->database);
	free(thread);
}

/* It does not matter if others hold the lock: it is tried again. */
static void note(struct database_thread *thread, enum database_status status)
{
	if (status == DATABASE_OK)
		log_repeat_ends(&thread->trouble, clock_monotonic_ms(),
				"the database can be written again");
	else if (status != DATABASE_BUSY)
		log_repeat_event(&thread->trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)),
				 log_text("sqlite", database_error(thread->database)));
}

/* One transaction, if there is anything to write. True when there is more, or this has to be tried
 * again. */
static bool write_changes(struct database_thread *thread)
{
	struct presence_batch *batch = &thread->batch;
	int64_t now_ms = clock_monotonic_ms();
	enum database_status status;

	presence_take(thread->presence, batch);
	if (!batch->has_news && now_ms - thread->seen_at_ms < SEEN_MS)
		return false;
	status = presence_rows_write(thread->rows, batch);
	note(thread, status);
	if (status == DATABASE_OK)
		thread->seen_at_ms = now_ms;
	else
		presence_give_back(thread->presence, batch);
	return status != DATABASE_OK || batch->count == PRESENCE_BATCH;
}

static void answer_question(struct database_thread *thread)
{
	struct gauges gauges;
	bool is_known = gauges_read(thread->gauges, &gauges) == DATABASE_OK;

	presence_answer_gauges(thread->presence, is_known ? &gauges : NULL);
}

static void keep_house(struct database_thread *thread)
{
	int64_t now_ms = clock_monotonic_ms();
	enum database_status status;
	bool more;

	if (now_ms - thread->kept_at_ms < HOUSEKEEPING_MS)
		return;
	housekeeping_set_limits(thread->housekeeping, thread->batch.limits);
	status = housekeeping_step(thread->housekeeping, clock_wall_ms(), 0, &more);
	if (status != DATABASE_OK) /* having had nothing to do does not end the trouble */
		note(thread, status);
	if (!more)
		thread->kept_at_ms = now_ms;
}

/* A gateway that ends in order leaves no rows; if the lock cannot be had in time, its successor
 * clears them. */
static void say_goodbye(struct database_thread *thread)
{
	int64_t give_up_ms = clock_monotonic_ms() + GOODBYE_MS;

	presence_take(thread->presence, &thread->batch);
	while (presence_rows_leave(thread->rows, &thread->batch.counters) == DATABASE_BUSY &&
	       clock_monotonic_ms() < give_up_ms)
		usleep(GOODBYE_RETRY_MS * 1000);
}

void database_thread_run(struct database_thread *thread)
{
	unsigned work = 0;

	while (!(work & PRESENCE_END)) {
		bool is_retry = write_changes(thread);

		if (work & PRESENCE_QUESTION)
			answer_question(thread);
		keep_house(thread);
		work = presence_wait(thread->presence, is_retry);
	}
	say_goodbye(thread);
}
