/*
 * Pruning and checkpoints, see housekeeping.h. State: prepared statements. May block on the disk;
 * never runs on an event loop.
 *
 * Events go strictly from the oldest on, and the newest one stays, so that no id is used twice.
 */
#include "shared/database/housekeeping.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"
#include "shared/database/database_internal.h"
#include "shared/database/reserve.h"

enum {
	BATCH_ROWS = 500,
	BATCH_BYTES = 4 * 1024 * 1024, /* of payloads: the lock is held for as long as they take */
	CHECKPOINT_BYTES = 4 * 1024 * 1024, /* of log */
	HELD_STEPS = 3,
	CROWDED_TENTHS = 9,
	RESERVE_RETRY_MS = 5000
};

/* The columns of `look`. */
enum { HAS_OLD_TOPICS, NEWEST_ID, EVENTS, BYTES, FREE_BYTES, NUMBERS };

struct housekeeping {
	struct database *database;
	sqlite3_stmt *look;
	sqlite3_stmt *delete_topics;
	sqlite3_stmt *oldest_events;
	sqlite3_stmt *delete_events;
	struct log_repeat held;
	int held_steps; /* how often in a row */
	bool is_full; /* the disk; until the next step */
	bool is_short; /* of room on it: the reserve was given up, and cannot be had again yet */
	int64_t reserve_ms; /* when to look after the reserve again; monotonic */
};

struct housekeeping_limits housekeeping_limits_of(const struct config *config)
{
	return (struct housekeeping_limits){
		.event_retention_ms = config->event_retention_ms,
		.event_limit = config->event_limit,
		.database_max_bytes = config->database_max_bytes,
		.disk_reserve = config->disk_reserve,
	};
}

struct housekeeping *housekeeping_new(struct database *database)
{
	struct housekeeping *housekeeping = xcalloc(1, sizeof(*housekeeping));

	housekeeping->database = database;
	housekeeping->held = (struct log_repeat){
		.level = LOG_WARN,
		.message = "an open transaction keeps the log from being shortened"};
	database_prepare(
		database, &housekeeping->look,
		"SELECT EXISTS (SELECT 1 FROM topics WHERE expires_ms <= ?1), "
		"(SELECT max(id) FROM events), (SELECT events FROM event_count), "
		"(page_count - freelist_count) * page_size, freelist_count * page_size FROM "
		"pragma_page_count, pragma_freelist_count, pragma_page_size");
	database_prepare(database, &housekeeping->delete_topics,
			 "DELETE FROM topics WHERE topic IN (SELECT topic FROM topics "
			 "WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)");
	database_prepare(database, &housekeeping->oldest_events,
			 "SELECT id, created_ms, length(CAST(payload AS BLOB)) FROM events "
			 "ORDER BY id LIMIT ?1");
	database_prepare(database, &housekeeping->delete_events,
			 "DELETE FROM events WHERE id <= ?1 "
			 "AND id < (SELECT max(id) FROM events)");
	return housekeeping;
}

void housekeeping_free(struct housekeeping *housekeeping)
{
	free(housekeeping);
}

void housekeeping_make_room(struct housekeeping *housekeeping)
{
	housekeeping->is_full = true;
}

/* The batch of old events that is to go: up to *last, 0: none. *more when it is as large as it may
 * be. `crowded`: the pages in use come near the limit of database_max_bytes; or the disk is full,
 * and the file has less free room than two checkpoints' worth of log. */
static enum database_status plan_events(struct housekeeping *housekeeping,
					struct housekeeping_limits limits, int64_t now_ms,
					const int64_t seen[NUMBERS], int64_t *last, bool *more)
{
	sqlite3_stmt *oldest = housekeeping->oldest_events;
	bool crowded = seen[BYTES] > limits.database_max_bytes / 10 * CROWDED_TENTHS ||
		       (housekeeping->is_short && seen[FREE_BYTES] < 2 * CHECKPOINT_BYTES);
	int64_t bytes = 0, rows = 0;
	int result = SQLITE_OK;

	sqlite3_bind_int(oldest, 1, BATCH_ROWS);
	while (bytes < BATCH_BYTES && (result = sqlite3_step(oldest)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(oldest, 0);
		bool old = sqlite3_column_int64(oldest, 1) < now_ms - limits.event_retention_ms;
		bool over = rows < seen[EVENTS] - limits.event_limit;

		if (id >= seen[NEWEST_ID] || !(old || over || crowded))
			break;
		*last = id;
		bytes += sqlite3_column_int64(oldest, 2);
		rows++;
	}
	sqlite3_reset(oldest);
	*more = bytes >= BATCH_BYTES || rows == BATCH_ROWS;
	return database_status_of(result);
}

static int64_t deadline_in(int64_t wait_ms)
{
	return wait_ms > 0 ? clock_monotonic_ms() + wait_ms : 0;
}

static enum database_status prune(struct housekeeping *housekeeping,
				  struct housekeeping_limits limits, int64_t now_ms,
				  int64_t wait_ms, bool *more)
{
	int64_t seen[NUMBERS] = {0}, last_event = 0;
	bool is_full = false;

	sqlite3_bind_int64(housekeeping->look, 1, now_ms);
	enum database_status status = database_read_numbers(housekeeping->look, seen, NUMBERS);
	if (status == DATABASE_OK)
		status = plan_events(housekeeping, limits, now_ms, seen, &last_event, &is_full);
	if (status != DATABASE_OK || (!seen[HAS_OLD_TOPICS] && last_event == 0))
		return status;
	status = database_write_begin(housekeeping->database, deadline_in(wait_ms));
	if (status != DATABASE_OK)
		return status;
	if (last_event > 0) {
		sqlite3_bind_int64(housekeeping->delete_events, 1, last_event);
		status = database_run(housekeeping->delete_events);
	}
	if (status == DATABASE_OK && seen[HAS_OLD_TOPICS]) {
		sqlite3_bind_int64(housekeeping->delete_topics, 1, now_ms);
		sqlite3_bind_int(housekeeping->delete_topics, 2, BATCH_ROWS);
		status = database_run(housekeeping->delete_topics);
		is_full |= sqlite3_changes(database_handle(housekeeping->database)) == BATCH_ROWS;
	}
	database_write_end(housekeeping->database);
	*more = is_full;
	return status;
}

enum database_status housekeeping_step(struct housekeeping *housekeeping,
				       struct housekeeping_limits limits, int64_t now_ms,
				       int64_t wait_ms, bool *more)
{
	struct database *database = housekeeping->database;
	bool is_full = housekeeping->is_full;

	*more = false;
	if (is_full && limits.disk_reserve > 0) {
		reserve_give_up(database->state_dir);
		housekeeping->is_short = true;
	}
	enum database_status status = prune(housekeeping, limits, now_ms, wait_ms, more);
	/* On a full disk not even a DELETE finds room until the log can start again from its
	 * beginning. */
	if (is_full || status == DATABASE_FULL ||
	    (status == DATABASE_OK && database_wal_bytes(database) >= CHECKPOINT_BYTES)) {
		enum database_status copied = database_checkpoint(database, deadline_in(wait_ms));
		if (status == DATABASE_OK)
			status = copied;
	}
	housekeeping->is_full = status == DATABASE_FULL || (is_full && status == DATABASE_BUSY);
	/* A checkpoint leaves nothing of the log, unless somebody reads; ours read for moments
	 * only. */
	int64_t bytes = database_wal_bytes(database), clock_ms = clock_monotonic_ms();
	housekeeping->held_steps =
		bytes >= DATABASE_LONG_LOG_BYTES ? housekeeping->held_steps + 1 : 0;
	if (housekeeping->held_steps >= HELD_STEPS)
		log_repeat_event(&housekeeping->held, clock_ms,
				 log_number("pid", database_find_reader(database)),
				 log_number("bytes", bytes));
	else if (bytes < DATABASE_LONG_LOG_BYTES)
		log_repeat_ends(&housekeeping->held, clock_ms, "the log can be shortened again");
	if (status == DATABASE_OK && clock_ms >= housekeeping->reserve_ms) {
		bool is_kept = reserve_keep(database->state_dir, limits.disk_reserve);

		housekeeping->is_short = housekeeping->is_short && !is_kept;
		housekeeping->reserve_ms = is_kept ? 0 : clock_ms + RESERVE_RETRY_MS;
	}
	return status;
}
