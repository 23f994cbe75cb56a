/*
 * For tests of the feed: one on a real database that somebody else writes, what it has handed out
 * as text, and reads that fail. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_FEED_FIXTURE_H
#define TESTS_UNIT_FEED_FIXTURE_H

#include "tests/unit/database_fixture.h"

#include "shared/database/feed.h"

enum { MANY = 1000 };

static struct database *database; /* the feed's */
static struct feed *feed;
static char why[DATABASE_WHY_SIZE];
static sqlite3 *writer; /* a connection of its own */
static int64_t first_id; /* of the row that says that the database was made */

/* What a feed has handed out, as text: "<id - first_id>:<kind><topic>=<payload> ...". */
static char taken[4096];
static size_t taken_count;
static size_t fail_after; /* then no read succeeds */
static size_t stop_after; /* then the handler has had enough */
static bool reads_payload;

static inline void forget(void)
{
	taken[0] = '\0';
	taken_count = 0;
}

static inline int open_feed(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	writer = open_by_hand();
	first_id = query_number(writer, "SELECT max(id) FROM events");
	feed = feed_open(database, NULL, why);
	forget();
	fail_after = stop_after = SIZE_MAX;
	reads_payload = true;
	return 0;
}

static inline int close_feed(void **state)
{
	feed_close(feed);
	feed_close(NULL);
	sqlite3_close(writer);
	database_close(database);
	return remove_base(state);
}

#define FEED_TEST(test) cmocka_unit_test_setup_teardown(test, open_feed, close_feed)

static inline int interrupt(void *context)
{
	(void)context;
	return 1;
}

/* From here on every read of the feed's connection fails in the middle, or works again. */
static inline void set_failing(bool failing)
{
	sqlite3_progress_handler(database_handle(database), 1, failing ? interrupt : NULL, NULL);
}

static inline void add(enum event_kind kind, const char *topic, const char *payload)
{
	char *sql = sqlite3_mprintf("INSERT INTO events (kind, topic, payload, created_ms) "
				    "VALUES (%d, %Q, %Q, 0)",
				    (int)kind, topic, payload);

	execute(writer, sql);
	sqlite3_free(sql);
}

static inline void add_pushes(const char *topic, int count)
{
	execute(writer, "BEGIN");
	for (int i = 1; i <= count; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", i);
		add(EVENT_PUSH, topic, number);
	}
	execute(writer, "COMMIT");
}

static inline void note(struct feed_event *event)
{
	size_t len = strlen(taken);

	taken_count++;
	if (reads_payload)
		feed_payload(event);
	snprintf(taken + len, sizeof(taken) - len, "%s%lld:%d%.*s=%.*s", len > 0 ? " " : "",
		 (long long)(event->id - first_id), (int)event->kind, (int)event->topic_len,
		 event->topic, reads_payload ? (int)event->payload_len : 0,
		 reads_payload ? event->payload : "");
	if (taken_count == fail_after)
		set_failing(true);
}

static inline bool take(void *context, struct feed_event *event)
{
	assert_ptr_equal(context, &taken);
	if (taken_count == stop_after)
		return false;
	note(event);
	return true;
}

static inline bool take_replayed(void *context, struct feed_event *event)
{
	assert_int_equal(event->kind, EVENT_PUSH);
	return take(context, event);
}

static inline enum database_status poll_status(int limit, bool *more)
{
	forget();
	return feed_poll(feed, limit, take, &taken, more);
}

/* What a poll hands out. */
static inline const char *polled(int limit, bool expect_more)
{
	bool more = !expect_more;

	assert_int_equal(poll_status(limit, &more), DATABASE_OK);
	assert_int_equal(more, expect_more);
	return taken;
}

/* A batch that goes well, for the topic "t"; ids count from first_id. */
static inline const char *replayed(int64_t *position, int64_t until, int max_rows)
{
	struct feed_batch batch = {
		.topic = "t",
		.topic_len = 1,
		.position = first_id + *position,
		.until = first_id + until,
		.max_rows = max_rows,
		.has_gap = true,
	};

	forget();
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_OK);
	assert_false(batch.has_gap);
	*position = batch.position - first_id;
	return taken;
}

#endif
