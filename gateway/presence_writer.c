/*
 * The database thread of the gateway, see presence.h. State: its own connection and prepared
 * statements. It waits only for its condition variable; a lock that is not free is tried again
 * shortly after. Every second it also says that the gateway is alive and does a step of
 * housekeeping.
 */
#include "gateway/presence_writer.h"

#include <unistd.h>

#include "shared/alloc.h"
#include "shared/clock.h"
#include "shared/housekeeping.h"
#include "shared/log_repeat.h"
#include "shared/topic_name.h"
#include "shared/version.h"

enum {
	BATCH = 256, /* rows a transaction: others wait for the lock meanwhile */
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
	struct census *census;
	int64_t pid, started_ms, seen_at_ms, kept_at_ms;
	struct log_repeat trouble;
	bool introduced; /* the gateways row is written, rows of dead gateways are gone */

	sqlite3_stmt *begin, *commit;
	sqlite3_stmt *put_gateway, *drop_gateway, *drop_sessions, *dead_gateways;
	sqlite3_stmt *put_session, *drop_session;
};

/* What the thread takes from the slots at a time. */
struct change {
	uint32_t number;
	struct slot slot;
	char topic[TOPIC_MAX_BYTES];
};

/* One transaction. */
struct batch {
	struct change changes[BATCH];
	size_t count;
	struct presence_figures figures;
	bool figures_changed;
	bool say_seen;
};

static void prepare(struct presence_writer *writer)
{
	struct database *database = writer->database;

	writer->begin = database_prepare(database, "BEGIN IMMEDIATE");
	writer->commit = database_prepare(database, "COMMIT");
	writer->put_gateway = database_prepare(
		database,
		"INSERT OR REPLACE INTO gateways (pid, version, address, started_ms, seen_ms, "
		"last_event_id, cluster_nodes, outbox_bytes) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, -1, ?7)");
	writer->drop_gateway = database_prepare(database, "DELETE FROM gateways WHERE pid = ?1");
	writer->drop_sessions =
		database_prepare(database, "DELETE FROM sessions WHERE gateway = ?1");
	writer->dead_gateways = database_prepare(
		database, "SELECT pid FROM gateways WHERE pid <> ?1 AND NOT gateway_alive(pid) "
			  "UNION SELECT gateway FROM sessions WHERE gateway NOT IN "
			  "(SELECT pid FROM gateways) LIMIT 1");
	writer->put_session = database_prepare(
		database,
		"INSERT OR REPLACE INTO sessions (gateway, slot, topic, user_id, address, "
		"connected_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
	writer->drop_session =
		database_prepare(database, "DELETE FROM sessions WHERE gateway = ?1 AND slot = ?2");
}

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
	writer->census = census_new(database, presence->options.liveness);
	accounts_attach(presence->accounts, database);
	writer->pid = getpid();
	writer->started_ms = clock_wall_ms();
	prepare(writer);
	return writer;
}

void presence_writer_close(struct presence_writer *writer)
{
	sqlite3_stmt *all[] = {writer->begin,	     writer->commit,	    writer->put_gateway,
			       writer->drop_gateway, writer->drop_sessions, writer->dead_gateways,
			       writer->put_session,  writer->drop_session};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		sqlite3_finalize(all[i]);
	housekeeping_free(writer->housekeeping);
	census_free(writer->census);
	accounts_attach(writer->presence->accounts, NULL);
	database_close(writer->database);
	free(writer);
}

static enum database_status run(sqlite3_stmt *statement)
{
	enum database_status status = database_status_of(sqlite3_step(statement));

	sqlite3_reset(statement);
	return status;
}

static enum database_status run_for(sqlite3_stmt *statement, int64_t pid)
{
	sqlite3_bind_int64(statement, 1, pid);
	return run(statement);
}

/* A lock held by others is no trouble: it is tried again. */
static void note(struct presence_writer *writer, enum database_status status)
{
	struct log_repeat *trouble = &writer->trouble;

	if (status == DATABASE_BUSY)
		return;
	if (status != DATABASE_OK) {
		log_repeat_event(trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)),
				 log_text("sqlite", database_error(writer->database)));
	} else if (trouble->is_on) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "the database can be written again");
	}
}

static enum database_status put_gateway(struct presence_writer *writer,
					const struct presence_figures *figures)
{
	sqlite3_stmt *put = writer->put_gateway;

	sqlite3_bind_int64(put, 1, writer->pid);
	sqlite3_bind_text(put, 2, WORKER_VERSION, -1, SQLITE_STATIC);
	sqlite3_bind_text(put, 3, writer->presence->address, -1, SQLITE_STATIC);
	sqlite3_bind_int64(put, 4, writer->started_ms);
	sqlite3_bind_int64(put, 5, clock_wall_ms());
	sqlite3_bind_int64(put, 6, figures->last_event_id);
	sqlite3_bind_int64(put, 7, figures->outbox_bytes);
	return run(put);
}

/* The pid of a gateway whose rows were left behind, 0 when there is none. */
static int64_t find_dead(struct presence_writer *writer)
{
	int64_t pid = 0;

	sqlite3_bind_int64(writer->dead_gateways, 1, writer->pid);
	if (sqlite3_step(writer->dead_gateways) == SQLITE_ROW)
		pid = sqlite3_column_int64(writer->dead_gateways, 0);
	sqlite3_reset(writer->dead_gateways);
	return pid;
}

/* First of all: rows that a killed predecessor left go, those under our own pid too, and ours
 * comes. */
static enum database_status introduce(struct presence_writer *writer,
				      const struct presence_figures *figures)
{
	enum database_status status = run_for(writer->drop_sessions, writer->pid);
	int64_t dead;

	while (status == DATABASE_OK && (dead = find_dead(writer)) != 0) {
		status = run_for(writer->drop_sessions, dead);
		if (status == DATABASE_OK)
			status = run_for(writer->drop_gateway, dead);
	}
	return status == DATABASE_OK ? put_gateway(writer, figures) : status;
}

/* Takes up to BATCH changed slots, with a copy of what they hold. */
static void take_changes(struct presence *presence, struct batch *batch)
{
	pthread_mutex_lock(&presence->mutex);
	batch->count = 0;
	while (batch->count < BATCH && presence->dirty_slot != NO_SLOT) {
		struct change *change = &batch->changes[batch->count++];
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
	batch->figures_changed = presence->figures_changed;
	presence->figures_changed = false;
	pthread_mutex_unlock(&presence->mutex);
}

/* What could not be written is changed still. */
static void give_back(struct presence *presence, const struct batch *batch)
{
	pthread_mutex_lock(&presence->mutex);
	for (size_t i = 0; i < batch->count; i++) {
		const struct change *change = &batch->changes[i];
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

static enum database_status write_change(struct presence_writer *writer,
					 const struct change *change)
{
	const struct slot *slot = &change->slot;
	sqlite3_stmt *statement = slot->topic ? writer->put_session : writer->drop_session;
	char address[CLIENT_ADDRESS_TEXT_SIZE];

	if (!slot->topic && !slot->written)
		return DATABASE_OK; /* came and went unseen */
	sqlite3_bind_int64(statement, 1, writer->pid);
	sqlite3_bind_int64(statement, 2, change->number);
	if (slot->topic) {
		client_address_format(&slot->address, address);
		sqlite3_bind_text(statement, 3, change->topic, slot->topic_len, SQLITE_STATIC);
		sqlite3_bind_int64(statement, 4, slot->user_id);
		sqlite3_bind_text(statement, 5, address, -1, SQLITE_STATIC);
		sqlite3_bind_int64(statement, 6, slot->connected_ms);
		if (slot->expires_s > 0 && slot->expires_s < INT64_MAX / 1000)
			sqlite3_bind_int64(statement, 7, slot->expires_s * 1000);
		else
			sqlite3_bind_null(statement, 7);
	}
	return run(statement);
}

static enum database_status write_all(struct presence_writer *writer, const struct batch *batch)
{
	enum database_status status = database_write_try(writer->database);

	if (status != DATABASE_OK)
		return status;
	status = run(writer->begin);
	if (status == DATABASE_OK && !writer->introduced)
		status = introduce(writer, &batch->figures);
	for (size_t i = 0; i < batch->count && status == DATABASE_OK; i++)
		status = write_change(writer, &batch->changes[i]);
	if (status == DATABASE_OK && batch->say_seen)
		status = put_gateway(writer, &batch->figures);
	if (status == DATABASE_OK)
		status = accounts_add(writer->presence->accounts, &batch->figures.counters);
	if (status == DATABASE_OK)
		status = run(writer->commit);
	database_write_end(writer->database);
	if (status == DATABASE_OK)
		accounts_added(writer->presence->accounts, &batch->figures.counters);
	return status;
}

/* One transaction. *again: there is more to write, or it has to be tried again. */
static void write_batch(struct presence_writer *writer, bool *again)
{
	static struct batch batch; /* one thread; 90 KB would be much for its stack */
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
	struct service_counts counts;
	bool known = census_take(writer->census, &counts) == DATABASE_OK;

	pthread_mutex_lock(&presence->mutex);
	presence->counts = counts;
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
	if (status != DATABASE_OK) /* that nothing was to be done does not end a trouble */
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

/* Sleeps until there is something to do: a change (and those that come with it), a question, the
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

/* A gateway that ends in order leaves no rows; when the lock cannot be had in time its successor
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
	if (run(writer->begin) == DATABASE_OK &&
	    run_for(writer->drop_sessions, writer->pid) == DATABASE_OK &&
	    run_for(writer->drop_gateway, writer->pid) == DATABASE_OK &&
	    accounts_add(writer->presence->accounts, &writer->presence->figures.counters) ==
		    DATABASE_OK)
		run(writer->commit);
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
