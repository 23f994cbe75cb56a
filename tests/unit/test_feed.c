// needs: gateway/feed.c
/*
 * Reading events on a real database that somebody else writes: their order, the position, replays,
 * and what is left after a read that failed.
 */
#include "tests/unit/database_fixture.h"

#include "gateway/feed.h"

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

static void forget(void)
{
	taken[0] = '\0';
	taken_count = 0;
}

static int open_feed(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	writer = open_by_hand();
	first_id = query_number(writer, "SELECT max(id) FROM events");
	feed = feed_open(database, why);
	forget();
	fail_after = stop_after = SIZE_MAX;
	reads_payload = true;
	return 0;
}

static int close_feed(void **state)
{
	feed_close(feed);
	feed_close(NULL);
	sqlite3_close(writer);
	database_close(database);
	return remove_base(state);
}

#define FEED_TEST(test) cmocka_unit_test_setup_teardown(test, open_feed, close_feed)

static int interrupt(void *context)
{
	(void)context;
	return 1;
}

/* From here on every read of the feed's connection fails in the middle, or works again. */
static void set_failing(bool failing)
{
	sqlite3_progress_handler(database_handle(database), 1, failing ? interrupt : NULL, NULL);
}

static void add(enum event_kind kind, const char *topic, const char *payload)
{
	char *sql = sqlite3_mprintf("INSERT INTO events (kind, topic, payload, created_ms) "
				    "VALUES (%d, %Q, %Q, 0)",
				    (int)kind, topic, payload);

	execute(writer, sql);
	sqlite3_free(sql);
}

static void add_pushes(const char *topic, int count)
{
	execute(writer, "BEGIN");
	for (int i = 1; i <= count; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", i);
		add(EVENT_PUSH, topic, number);
	}
	execute(writer, "COMMIT");
}

static void note(struct feed_event *event)
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

static void take(void *context, struct feed_event *event)
{
	assert_ptr_equal(context, &taken);
	note(event);
}

static bool take_replayed(void *context, struct feed_event *event)
{
	assert_ptr_equal(context, &taken);
	assert_int_equal(event->kind, EVENT_PUSH);
	note(event);
	return taken_count < stop_after;
}

static enum database_status poll_status(int limit, bool *more)
{
	forget();
	return feed_poll(feed, limit, take, &taken, more);
}

/* What a poll hands out. */
static const char *polled(int limit, bool expect_more)
{
	bool more = !expect_more;

	assert_int_equal(poll_status(limit, &more), DATABASE_OK);
	assert_int_equal(more, expect_more);
	return taken;
}

static void it_starts_at_the_newest_event(void **state)
{
	(void)state;
	assert_int_equal(feed_position(feed), first_id);
	add_pushes("t", 3);
	feed_close(feed);
	feed = feed_open(database, why);
	assert_int_equal(feed_position(feed), first_id + 3);
	assert_string_equal(polled(MANY, false), "");
	add(EVENT_PUSH, "t", "new");
	assert_string_equal(polled(MANY, false), "4:0t=new");
}

static void what_is_new_comes_once_and_in_order(void **state)
{
	(void)state;
	assert_string_equal(polled(MANY, false), "");
	add_pushes("a", 2);
	add(EVENT_UNREGISTER, "a", NULL);
	add(EVENT_PUSH, "b", "3");
	assert_string_equal(polled(MANY, false), "1:0a=1 2:0a=2 3:1a=null 4:0b=3");
	assert_int_equal(feed_position(feed), first_id + 4);
	assert_string_equal(polled(MANY, false), "");
	assert_int_equal(feed_position(feed), first_id + 4);
	add(EVENT_DISCONNECT, NULL, NULL);
	assert_string_equal(polled(MANY, false), "5:2=null");
}

static void ids_may_have_gaps(void **state)
{
	(void)state;
	execute(writer, "INSERT INTO events (id, kind, topic, payload, created_ms) SELECT "
			"max(id) + 1000, 0, 't', 'far', 0 FROM events");
	assert_string_equal(polled(MANY, false), "1000:0t=far");
	add(EVENT_PUSH, "t", "1");
	assert_string_equal(polled(MANY, false), "1001:0t=1");
}

static void a_poll_is_bounded_and_says_when_there_may_be_more(void **state)
{
	(void)state;
	add_pushes("t", 5);
	assert_string_equal(polled(2, true), "1:0t=1 2:0t=2");
	assert_int_equal(feed_position(feed), first_id + 2);
	assert_string_equal(polled(3, true), "3:0t=3 4:0t=4 5:0t=5");
	assert_string_equal(polled(3, false), "");
	add_pushes("t", 2);
	assert_string_equal(polled(3, false), "6:0t=1 7:0t=2");
}

static void what_is_not_committed_is_not_there(void **state)
{
	(void)state;
	execute(writer, "BEGIN");
	add(EVENT_PUSH, "t", "1");
	assert_string_equal(polled(MANY, false), "");
	execute(writer, "ROLLBACK");
	assert_string_equal(polled(MANY, false), "");
	add(EVENT_PUSH, "t", "2");
	assert_string_equal(polled(MANY, false), "1:0t=2");
}

static void pruning_what_was_handed_out_changes_nothing(void **state)
{
	(void)state;
	add_pushes("t", 3);
	assert_string_equal(polled(MANY, false), "1:0t=1 2:0t=2 3:0t=3");
	execute(writer, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	add(EVENT_PUSH, "t", "4");
	assert_string_equal(polled(MANY, false), "4:0t=4");
}

static void topics_and_payloads_come_byte_for_byte(void **state)
{
	static const char payload[] =
		"{ \"n\":12345678901234567890.10,\"s\":\"\\u2028\\/' \xE2\x82\xAC\" }";

	(void)state;
	add(EVENT_PUSH, "it's \"q\" 100% / caf\xC3\xA9 \xF0\x9F\x98\x80", payload);
	assert_string_equal(polled(MANY, false),
			    "1:0it's \"q\" 100% / caf\xC3\xA9 \xF0\x9F\x98\x80="
			    "{ \"n\":12345678901234567890.10,\"s\":\"\\u2028\\/' "
			    "\xE2\x82\xAC\" }");
}

static void an_event_without_topic_or_payload_has_empty_ones(void **state)
{
	(void)state;
	execute(writer, "INSERT INTO events (kind, created_ms) VALUES (3, 0)");
	assert_string_equal(polled(MANY, false), "1:3=null");
	add(EVENT_PUSH, "", "");
	assert_string_equal(polled(MANY, false), "2:0=");
}

static void a_payload_is_read_only_when_it_is_asked_for(void **state)
{
	(void)state;
	add_pushes("t", 2);
	reads_payload = false;
	assert_string_equal(polled(MANY, false), "1:0t= 2:0t=");
}

static void after_a_read_that_failed_the_same_events_come(void **state)
{
	bool more = true;

	(void)state;
	add_pushes("t", 4);
	set_failing(true);
	assert_int_equal(poll_status(MANY, &more), DATABASE_ERROR);
	assert_string_equal(taken, "");
	assert_false(more);
	assert_int_equal(feed_position(feed), first_id);
	set_failing(false);
	assert_string_equal(polled(1, true), "1:0t=1");
	fail_after = 2;
	assert_int_equal(poll_status(MANY, &more), DATABASE_ERROR);
	assert_string_equal(taken, "2:0t=2 3:0t=3"); /* these have been handed out */
	assert_int_equal(feed_position(feed), first_id + 3);
	set_failing(false);
	fail_after = SIZE_MAX;
	assert_string_equal(polled(MANY, false), "4:0t=4");
}

static void a_range_is_from_the_oldest_to_the_newest(void **state)
{
	struct feed_range range;

	(void)state;
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	assert_int_equal(range.oldest_id, first_id);
	assert_int_equal(range.newest_id, first_id);
	assert_true(range.from_the_start);
	add_pushes("t", 3); /* whether they have been handed out or not */
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	assert_int_equal(range.oldest_id, first_id);
	assert_int_equal(range.newest_id, first_id + 3);
	assert_true(range.from_the_start);
}

static void a_range_tells_that_events_were_pruned(void **state)
{
	struct feed_range range;

	(void)state;
	add_pushes("t", 3);
	execute(writer, "DELETE FROM events WHERE id = (SELECT min(id) FROM events)");
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	assert_int_equal(range.oldest_id, first_id + 1);
	assert_int_equal(range.newest_id, first_id + 3);
	assert_false(range.from_the_start);
	execute(writer, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	assert_int_equal(range.oldest_id, first_id + 3);
	assert_int_equal(range.newest_id, first_id + 3);
}

/* A batch that goes well, for the topic "t"; ids count from first_id. */
static const char *replayed(int64_t *position, int64_t until, int max_rows)
{
	struct feed_replay batch = {
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

static void a_replay_hands_out_what_came_after_its_position(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 4);
	assert_string_equal(replayed(&position, 4, MANY), "1:0t=1 2:0t=2 3:0t=3 4:0t=4");
	assert_int_equal(position, 4);
	position = 2;
	assert_string_equal(replayed(&position, 4, MANY), "3:0t=3 4:0t=4");
	assert_string_equal(replayed(&position, 4, MANY), "");
	assert_int_equal(position, 4);
}

static void a_replay_comes_in_batches_without_gap_or_repeat(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 5);
	assert_string_equal(replayed(&position, 5, 2), "1:0t=1 2:0t=2");
	assert_int_equal(position, 2);
	assert_string_equal(replayed(&position, 5, 2), "3:0t=3 4:0t=4");
	assert_int_equal(position, 4);
	assert_string_equal(replayed(&position, 5, 2), "5:0t=5");
	assert_int_equal(position, 5);
	position = 0;
	assert_string_equal(replayed(&position, 5, 5), "1:0t=1 2:0t=2 3:0t=3 4:0t=4 5:0t=5");
	assert_int_equal(position, 5);
}

static void a_replay_ends_at_its_last_id_whatever_came_since(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 5);
	assert_string_equal(replayed(&position, 3, MANY), "1:0t=1 2:0t=2 3:0t=3");
	assert_int_equal(position, 3);
	assert_string_equal(replayed(&position, 5, MANY), "4:0t=4 5:0t=5");
}

static void other_topics_and_orders_are_passed_over_but_counted(void **state)
{
	int64_t position = 0;

	(void)state;
	add(EVENT_PUSH, "u", "1");
	add(EVENT_PUSH, "t", "2");
	add(EVENT_PUSH, "tt", "3");
	add(EVENT_PUSH, "", "4");
	add(EVENT_UNREGISTER, "t", NULL);
	add(EVENT_PUSH, "T", "6");
	add(EVENT_DISCONNECT, "t", NULL);
	add(EVENT_PUSH, "t", "8");
	add(EVENT_PUSH, "u", "9");
	assert_string_equal(replayed(&position, 9, 4), "2:0t=2");
	assert_int_equal(position, 4); /* the work of a batch is bounded */
	assert_string_equal(replayed(&position, 9, 3), "");
	assert_int_equal(position, 7);
	assert_string_equal(replayed(&position, 9, 3), "8:0t=8");
	assert_int_equal(position, 9);
}

static void a_client_that_has_had_enough_ends_the_batch(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 5);
	stop_after = 2;
	assert_string_equal(replayed(&position, 5, MANY), "1:0t=1 2:0t=2");
	assert_int_equal(position, 2); /* with what was handed out */
	assert_string_equal(replayed(&position, 5, MANY), "3:0t=3 4:0t=4");
	assert_string_equal(replayed(&position, 5, MANY), "5:0t=5");
	assert_int_equal(position, 5);
}

/* The batch must see a gap and hand out nothing. */
static void assert_gap(int64_t position)
{
	struct feed_replay batch = {
		.topic = "t",
		.topic_len = 1,
		.position = first_id + position,
		.until = first_id + 5,
		.max_rows = MANY,
	};

	forget();
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_OK);
	assert_true(batch.has_gap);
	assert_int_equal(batch.position, first_id + position);
	assert_string_equal(taken, "");
}

static void events_pruned_before_the_replay_came_to_them_are_a_gap(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 5);
	assert_string_equal(replayed(&position, 5, 1), "1:0t=1");
	execute(writer, "DELETE FROM events WHERE payload IN (1, 2, 3) OR kind = 3");
	assert_gap(position);
	assert_gap(0);
	assert_gap(2);
	position = 3; /* 4 is the oldest: nothing between */
	assert_string_equal(replayed(&position, 5, MANY), "4:0t=4 5:0t=5");
}

static void a_replay_that_failed_goes_on_where_it_was(void **state)
{
	struct feed_replay batch = {
		.topic = "t",
		.topic_len = 1,
		.position = first_id,
		.until = first_id + 4,
		.max_rows = MANY,
	};

	(void)state;
	add_pushes("t", 4);
	set_failing(true);
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_ERROR);
	assert_int_equal(batch.position, first_id);
	assert_string_equal(taken, "");
	set_failing(false);
	fail_after = 2;
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_ERROR);
	assert_int_equal(batch.position, first_id + 2);
	set_failing(false);
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_OK);
	assert_int_equal(batch.position, first_id + 4);
	assert_string_equal(taken, "1:0t=1 2:0t=2 3:0t=3 4:0t=4");
}

static void a_replay_leaves_the_feeds_position_alone(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 3);
	assert_string_equal(polled(2, true), "1:0t=1 2:0t=2");
	assert_string_equal(replayed(&position, 2, MANY), "1:0t=1 2:0t=2");
	assert_int_equal(feed_position(feed), first_id + 2);
	assert_string_equal(polled(2, false), "3:0t=3");
}

static struct feed_topic found(const char *topic, size_t len)
{
	struct feed_topic result = {.registered = true, .require_token = true, .newest_id = 1};

	assert_int_equal(feed_find_topic(feed, topic, len, &result), DATABASE_OK);
	return result;
}

static void a_topic_is_found_byte_by_byte_and_until_its_expiry(void **state)
{
	(void)state;
	execute(writer, "INSERT INTO topics VALUES ('open', 0, 0, 9e18), ('closed', 1, 0, 9e18), "
			"('gone', 0, 0, 1000), ('caf\xC3\xA9', 0, 0, 9e18)");
	assert_true(found("open", 4).registered);
	assert_false(found("open", 4).require_token);
	assert_true(found("closed", 6).registered);
	assert_true(found("closed", 6).require_token);
	assert_true(found("caf\xC3\xA9", 5).registered);
	assert_true(found("worker.status", 13).require_token);
	assert_false(found("gone", 4).registered);
	assert_false(found("Open", 4).registered);
	assert_false(found("opens", 5).registered);
	assert_false(found("open", 3).registered);
	assert_false(found("open\0", 5).registered);
	assert_false(found("", 0).registered);
	assert_false(found("unknown", 7).require_token);
}

static void a_topic_comes_with_the_newest_id_of_all_events(void **state)
{
	(void)state;
	assert_int_equal(found("worker.status", 13).newest_id, first_id);
	add_pushes("u", 3);
	assert_int_equal(found("worker.status", 13).newest_id, first_id + 3);
}

static void what_cannot_be_read_is_no_topic_and_no_range(void **state)
{
	struct feed_range range = {.oldest_id = 1, .newest_id = 2, .from_the_start = true};
	struct feed_topic topic = {.registered = true};

	(void)state;
	set_failing(true);
	assert_int_equal(feed_find_topic(feed, "worker.status", 13, &topic), DATABASE_ERROR);
	assert_false(topic.registered);
	assert_int_equal(feed_find_range(feed, &range), DATABASE_ERROR);
	assert_int_equal(range.newest_id, 0);
	assert_false(range.from_the_start);
	set_failing(false);
	assert_true(found("worker.status", 13).registered);
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	assert_int_equal(range.newest_id, first_id);
}

/* A reader that holds its snapshot would keep the log from being copied back. */
static void no_read_is_left_open(void **state)
{
	struct feed_range range;
	int64_t position = 0;

	(void)state;
	add_pushes("t", 3);
	polled(1, true);
	stop_after = 1;
	replayed(&position, 3, MANY);
	found("worker.status", 13);
	assert_int_equal(feed_find_range(feed, &range), DATABASE_OK);
	for (sqlite3_stmt *next = NULL;
	     (next = sqlite3_next_stmt(database_handle(database), next));)
		if (sqlite3_stmt_busy(next))
			fail_msg("still being read: %s", sqlite3_sql(next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FEED_TEST(it_starts_at_the_newest_event),
		FEED_TEST(what_is_new_comes_once_and_in_order),
		FEED_TEST(ids_may_have_gaps),
		FEED_TEST(a_poll_is_bounded_and_says_when_there_may_be_more),
		FEED_TEST(what_is_not_committed_is_not_there),
		FEED_TEST(pruning_what_was_handed_out_changes_nothing),
		FEED_TEST(topics_and_payloads_come_byte_for_byte),
		FEED_TEST(an_event_without_topic_or_payload_has_empty_ones),
		FEED_TEST(a_payload_is_read_only_when_it_is_asked_for),
		FEED_TEST(after_a_read_that_failed_the_same_events_come),
		FEED_TEST(a_range_is_from_the_oldest_to_the_newest),
		FEED_TEST(a_range_tells_that_events_were_pruned),
		FEED_TEST(a_replay_hands_out_what_came_after_its_position),
		FEED_TEST(a_replay_comes_in_batches_without_gap_or_repeat),
		FEED_TEST(a_replay_ends_at_its_last_id_whatever_came_since),
		FEED_TEST(other_topics_and_orders_are_passed_over_but_counted),
		FEED_TEST(a_client_that_has_had_enough_ends_the_batch),
		FEED_TEST(events_pruned_before_the_replay_came_to_them_are_a_gap),
		FEED_TEST(a_replay_that_failed_goes_on_where_it_was),
		FEED_TEST(a_replay_leaves_the_feeds_position_alone),
		FEED_TEST(a_topic_is_found_byte_by_byte_and_until_its_expiry),
		FEED_TEST(a_topic_comes_with_the_newest_id_of_all_events),
		FEED_TEST(what_cannot_be_read_is_no_topic_and_no_range),
		FEED_TEST(no_read_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
