/*
 * The database thread of the gateway, see presence.h. State: its own connection. It waits only for
 * its condition variable; a lock that is not free is tried again soon after. Once a second it also
 * gives the gateway's heartbeat and takes a step of housekeeping.
 */
#include "gateway/presence/presence_writer.h"

#include <unistd.h>

#include "gateway/presence/presence_rows.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/housekeeping.h"
#include "shared/base/log_repeat.h"

enum {
	BATCH = 256, /* rows in a transaction: others wait for the lock meanwhile */
	GATHER_MS = 10, /* changes that come together are written together */
	RETRY_MS = 25, /* when the lock was taken */
	HOUSEKEEPING_MS = 1000,
	SEEN_MS = 5000, /* the gateways row is written at least this often */
	GOODBYE_MS = 1000
};

struct presence_writer {
	struct presence *presence;
	struct database *database;
	struct housekeeping *housekeeping;
	struct gauge_reader *gauges;
	struct presence_rows *rows;
	int64_t seen_at_ms, kept_at_ms;
	struct log_repeat trouble;
	bool introduced; /* the gateways row has been written, the rows of dead gateways removed */
};

/* What the thread takes from the slots at a time: one transaction. */
struct batch {
	struct presence_change changes[BATCH];
	size_t count;
	struct presence_figures figures;
	bool figures_changed;
	bool say_seen;
};

struct presence_writer *presence_writer_open(struct presence *presence, char why[DATABASE_WHY_SIZE])
{
	struct database *database = database_open(presence->options.config, why);
	struct presence_writer *writer;

	if (!database)
		return NULL;
	writer = xcalloc(1, sizeof(*writer));
	writer->presence = presence;
	writer->trouble =
		(struct log_repeat){.level = LOG_ERROR, .message = "cannot write to the database"};
	writer->database = database;
	writer->housekeeping = housekeeping_new(database, presence->limits);
	writer->gauges = gauge_reader_new(database, presence->options.liveness);
	totals_attach(presence->totals, database);
	writer->rows = presence_rows_new(database, presence->address);
	if (database_is_prepared(database, why))
		return writer;
	presence_writer_close(writer);
	return NULL;
}

void presence_writer_close(struct presence_writer *writer)
{
	presence_rows_free(writer->rows);
	housekeeping_free(writer->housekeeping);
	gauge_reader_free(writer->gauges);
	totals_attach(writer->presence->totals, NULL);
	database_close(writer->database);
	free(writer);
}

/* It does not matter if others hold the lock: it is tried again. */
static void note(struct presence_writer *writer, enum database_status status)
{
	struct log_repeat *trouble = &writer->trouble;

	if (status == DATABASE_BUSY)
		return;
	if (status != DATABASE_OK) {
		log_repeat_event(trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)),
				 log_text("sqlite", database_error(writer->database)));
	} else if (trouble->is_on || trouble->unsaid > 0) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "the database can be written again");
		log_repeat_tick(trouble, clock_monotonic_ms());
	}
}

/* Takes up to BATCH changed slots, with a copy of what they hold. */
static void take_changes(struct presence *presence, struct batch *batch)
{
	pthread_mutex_lock(&presence->mutex);
	batch->count = 0;
	while (batch->count < BATCH && presence->dirty_slot != NO_SLOT) {
		struct presence_change *change = &batch->changes[batch->count++];
		struct slot *slot;

		change->number = presence->dirty_slot;
		slot = &presence->slots[change->number];
		presence->dirty_slot = slot->next_dirty;
		slot->dirty = false;
		change->slot = *slot;
		if (slot->topic)
			memcpy(change->topic, slot->topic, slot->topic_len);
		slot->written = slot->topic != NULL;
	}
	batch->figures = presence->figures;
	batch->figures.last_event_id = presence->last_event_id;
	batch->figures.headcount = presence->headcount;
	batch->figures_changed = presence->figures_changed;
	presence->figures_changed = false;
	pthread_mutex_unlock(&presence->mutex);
}

/* What could not be written still counts as changed. */
static void give_back(struct presence *presence, const struct batch *batch)
{
	pthread_mutex_lock(&presence->mutex);
	for (size_t i = 0; i < batch->count; i++) {
		const struct presence_change *change = &batch->changes[i];
		struct slot *slot = &presence->slots[change->number];

		slot->written = change->slot.written;
		if (!slot->dirty) {
			slot->dirty = true;
			slot->next_dirty = presence->dirty_slot;
			presence->dirty_slot = change->number;
		}
	}
	presence->figures_changed |= batch->figures_changed;
	pthread_mutex_unlock(&presence->mutex);
}

static enum database_status write_all(struct presence_writer *writer, const struct batch *batch)
{
	enum database_status status = database_write_try(writer->database);

	if (status != DATABASE_OK)
		return status;
	status = database_begin(writer->database);
	if (status == DATABASE_OK && !writer->introduced)
		status = presence_rows_introduce(writer->rows, &batch->figures);
	for (size_t i = 0; i < batch->count && status == DATABASE_OK; i++)
		status = presence_rows_put_change(writer->rows, &batch->changes[i]);
	if (status == DATABASE_OK && batch->say_seen)
		status = presence_rows_put_gateway(writer->rows, &batch->figures);
	if (status == DATABASE_OK)
		status = totals_add(writer->presence->totals, &batch->figures.counters);
	if (status == DATABASE_OK)
		status = presence_rows_commit(writer->rows);
	database_write_end(writer->database);
	if (status == DATABASE_OK)
		totals_added(writer->presence->totals, &batch->figures.counters);
	return status;
}

/* One transaction. *again: there is more to write, or this has to be tried again. */
static void write_batch(struct presence_writer *writer, bool *again)
{
	static struct batch batch; /* there is one thread, and 90 KB would be a lot for its stack */
	int64_t now_ms = clock_monotonic_ms();
	enum database_status status;

	*again = false;
	take_changes(writer->presence, &batch);
	batch.say_seen =
		now_ms - writer->seen_at_ms >= SEEN_MS || batch.count > 0 || batch.figures_changed;
	if (!batch.say_seen && writer->introduced)
		return;
	status = write_all(writer, &batch);
	note(writer, status);
	if (status != DATABASE_OK) {
		give_back(writer->presence, &batch);
	} else {
		writer->introduced = true;
		writer->seen_at_ms = now_ms;
	}
	*again = status != DATABASE_OK || batch.count == BATCH;
}

static void answer_count(struct presence_writer *writer)
{
	struct presence *presence = writer->presence;
	struct gauges gauges;
	bool known = gauges_read(writer->gauges, &gauges) == DATABASE_OK;

	pthread_mutex_lock(&presence->mutex);
	presence->counts = gauges;
	presence->counts_known = known;
	pthread_mutex_unlock(&presence->mutex);
	uv_async_send(&presence->counted);
}

static void keep_house(struct presence_writer *writer)
{
	struct presence *presence = writer->presence;
	int64_t now_ms = clock_monotonic_ms();
	enum database_status status;
	bool more;

	if (now_ms - writer->kept_at_ms < HOUSEKEEPING_MS)
		return;
	pthread_mutex_lock(&presence->mutex);
	struct housekeeping_limits limits = presence->limits;
	pthread_mutex_unlock(&presence->mutex);
	housekeeping_set_limits(writer->housekeeping, limits);
	status = housekeeping_step(writer->housekeeping, clock_wall_ms(), 0, &more);
	if (status != DATABASE_OK) /* having had nothing to do does not end the trouble */
		note(writer, status);
	if (!more)
		writer->kept_at_ms = now_ms;
}

static void wait_until(struct presence *presence, int64_t at_ms, bool for_more)
{
	struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000};

	while (!presence->stop && !presence->count_wanted &&
	       (for_more || (presence->dirty_slot == NO_SLOT && !presence->figures_changed)) &&
	       pthread_cond_timedwait(&presence->wake, &presence->mutex, &at) == 0)
		;
}

/* Sleeps until there is something to do: a change (and those that come with it), a question, or the
 * next second. */
static bool wait_for_work(struct presence *presence, bool again, bool *count_wanted)
{
	bool stop;

	pthread_mutex_lock(&presence->mutex);
	if (again)
		wait_until(presence, clock_monotonic_ms() + RETRY_MS, true);
	else {
		wait_until(presence, clock_monotonic_ms() + HOUSEKEEPING_MS, false);
		wait_until(presence, clock_monotonic_ms() + GATHER_MS, true);
	}
	*count_wanted = presence->count_wanted;
	presence->count_wanted = false;
	stop = presence->stop;
	pthread_mutex_unlock(&presence->mutex);
	return !stop;
}

/* A gateway that ends in order leaves no rows; if the lock cannot be had in time, its successor
 * clears them. */
static void say_goodbye(struct presence_writer *writer)
{
	int64_t give_up_ms = clock_monotonic_ms() + GOODBYE_MS;
	enum database_status status;

	while ((status = database_write_try(writer->database)) == DATABASE_BUSY &&
	       clock_monotonic_ms() < give_up_ms)
		usleep(RETRY_MS * 1000);
	if (status != DATABASE_OK)
		return;
	if (database_begin(writer->database) == DATABASE_OK &&
	    presence_rows_leave(writer->rows) == DATABASE_OK &&
	    totals_add(writer->presence->totals, &writer->presence->figures.counters) ==
		    DATABASE_OK)
		presence_rows_commit(writer->rows);
	database_write_end(writer->database);
}

void *presence_writer_run(void *argument)
{
	struct presence_writer *writer = argument;
	bool again, count_wanted;

	do {
		write_batch(writer, &again);
		keep_house(writer);
		if (!wait_for_work(writer->presence, again, &count_wanted))
			break;
		if (count_wanted) {
			write_batch(writer, &again);
			answer_count(writer);
		}
	} while (true);
	say_goodbye(writer);
	return NULL;
}
