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

enum {
	BATCH_ROWS = 500,
	BATCH_BYTES = 4 * 1024 * 1024, /* of payloads: the lock is held for as long as they take */
	CHECKPOINT_PAGES = 1000, /* 4 MiB of log */
	HELD_PAGES = 4 * CHECKPOINT_PAGES, /* of the log, that a checkpoint had to leave */
	HELD_STEPS = 3,
	CROWDED_TENTHS = 9
};

struct housekeeping {
	struct database *database;
	struct housekeeping_limits limits;
	sqlite3_stmt *look;
	sqlite3_stmt *delete_topics;
	sqlite3_stmt *oldest_events;
	sqlite3_stmt *delete_events;
	struct log_repeat held;
	int held_steps; /* how often in a row */
};

struct housekeeping_limits housekeeping_limits_of(const struct config *config)
{
	return (struct housekeeping_limits){
		.event_retention_ms = config->event_retention_ms,
		.event_limit = config->event_limit,
		.database_max_bytes = config->database_max_bytes,
	};
}

void housekeeping_set_limits(struct housekeeping *housekeeping, struct housekeeping_limits limits)
{
	housekeeping->limits = limits;
}

struct housekeeping *housekeeping_new(struct database *database, struct housekeeping_limits limits)
{
	struct housekeeping *housekeeping = xcalloc(1, sizeof(*housekeeping));

	housekeeping->database = database;
	housekeeping->limits = limits;
	housekeeping->held = (struct log_repeat){
		.level = LOG_WARN,
		.message = "an open transaction keeps the log from being shortened"};
	database_prepare(database, &housekeeping->look,
			 "SELECT EXISTS (SELECT 1 FROM topics WHERE expires_ms <= ?1), "
			 "(SELECT max(id) FROM events), (SELECT events FROM event_count), "
			 "(page_count - freelist_count) * page_size FROM "
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

/* What a step is to do. */
struct plan {
	int64_t now_ms;
	bool topics;
	int64_t last_event; /* of the batch that is to go, 0: none */
	bool full; /* the batch is as large as it may be */
};

/* `crowded`: the pages in use come near the limit of database_max_bytes. */
static enum database_status plan_events(struct housekeeping *housekeeping, struct plan *plan,
					int64_t newest_id, int64_t events, bool crowded)
{
	const struct housekeeping_limits *limits = &housekeeping->limits;
	sqlite3_stmt *oldest = housekeeping->oldest_events;
	int64_t bytes = 0, rows = 0;
	int result = SQLITE_OK;

	sqlite3_bind_int(oldest, 1, BATCH_ROWS);
	while (bytes < BATCH_BYTES && (result = sqlite3_step(oldest)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(oldest, 0);
		bool old =
			sqlite3_column_int64(oldest, 1) < plan->now_ms - limits->event_retention_ms;
		bool over = rows < events - limits->event_limit;

		if (id >= newest_id || !(old || over || crowded))
			break;
		plan->last_event = id;
		bytes += sqlite3_column_int64(oldest, 2);
		rows++;
	}
	sqlite3_reset(oldest);
	plan->full = bytes >= BATCH_BYTES || rows == BATCH_ROWS;
	return database_status_of(result);
}

static int64_t deadline_in(int64_t wait_ms)
{
	return wait_ms > 0 ? clock_monotonic_ms() + wait_ms : 0;
}

static enum database_status prune(struct housekeeping *housekeeping, int64_t now_ms,
				  int64_t wait_ms, bool *more)
{
	enum { HAS_OLD_TOPICS, NEWEST_ID, EVENTS, BYTES, NUMBERS };
	struct plan plan = {.now_ms = now_ms};
	int64_t seen[NUMBERS] = {0};

	sqlite3_bind_int64(housekeeping->look, 1, now_ms);
	enum database_status status = database_read_numbers(housekeeping->look, seen, NUMBERS);
	plan.topics = seen[HAS_OLD_TOPICS];
	if (status == DATABASE_OK)
		status = plan_events(housekeeping, &plan, seen[NEWEST_ID], seen[EVENTS],
				     seen[BYTES] > housekeeping->limits.database_max_bytes / 10 *
							   CROWDED_TENTHS);
	if (status != DATABASE_OK || (!plan.topics && plan.last_event == 0))
		return status;
	status = database_write_begin(housekeeping->database, deadline_in(wait_ms));
	if (status != DATABASE_OK)
		return status;
	if (plan.last_event > 0) {
		sqlite3_bind_int64(housekeeping->delete_events, 1, plan.last_event);
		status = database_run(housekeeping->delete_events);
	}
	if (status == DATABASE_OK && plan.topics) {
		sqlite3_bind_int64(housekeeping->delete_topics, 1, now_ms);
		sqlite3_bind_int(housekeeping->delete_topics, 2, BATCH_ROWS);
		status = database_run(housekeeping->delete_topics);
		plan.full |= sqlite3_changes(database_handle(housekeeping->database)) == BATCH_ROWS;
	}
	database_write_end(housekeeping->database);
	*more = plan.full;
	return status;
}

/* A checkpoint leaves nothing of the log, unless somebody reads; ours read for moments only. */
static void note_reader(struct housekeeping *housekeeping)
{
	struct database *database = housekeeping->database;
	int64_t pages = database_wal_pages(database), now_ms = clock_monotonic_ms();

	housekeeping->held_steps = pages >= HELD_PAGES ? housekeeping->held_steps + 1 : 0;
	if (housekeeping->held_steps >= HELD_STEPS)
		log_repeat_event(&housekeeping->held, now_ms,
				 log_number("pid", database_find_reader(database)),
				 log_number("bytes", pages * DATABASE_PAGE_BYTES));
	else if (pages < HELD_PAGES)
		log_repeat_ends(&housekeeping->held, now_ms, "the log can be shortened again");
}

enum database_status housekeeping_step(struct housekeeping *housekeeping, int64_t now_ms,
				       int64_t wait_ms, bool *more)
{
	*more = false;
	enum database_status status = prune(housekeeping, now_ms, wait_ms, more);
	bool log_is_long = database_wal_pages(housekeeping->database) >= CHECKPOINT_PAGES;

	/* On a full disk not even a DELETE finds room until the log can start again from its
	 * beginning. */
	if (status == DATABASE_FULL || (status == DATABASE_OK && log_is_long)) {
		enum database_status copied =
			database_checkpoint(housekeeping->database, deadline_in(wait_ms));
		if (status == DATABASE_OK)
			status = copied;
	}
	note_reader(housekeeping);
	return status;
}
