// needs: gateway/events/feed.c gateway/events/registry.c
/*
 * What is found in a real database that somebody else writes: the range of the events there are,
 * and topics; nothing when it cannot be read, and no read is left open.
 */
#include "tests/unit/gateway/events/feed_fixture.h"

#include "gateway/events/registry.h"

static struct registry *registry;

static int open_both(void **state)
{
	if (open_feed(state) != 0)
		return -1;
	registry = registry_open(database, why);
	return registry ? 0 : -1;
}

static int close_both(void **state)
{
	registry_close(registry);
	registry_close(NULL);
	return close_feed(state);
}

#define LOOKUP_TEST(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

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

static struct registered_topic found(const char *topic, size_t len)
{
	struct registered_topic result = {
		.registered = true, .require_token = true, .newest_id = 1};

	assert_int_equal(registry_find(registry, topic, len, &result), DATABASE_OK);
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
	struct registered_topic topic = {.registered = true};

	(void)state;
	set_failing(true);
	assert_int_equal(registry_find(registry, "worker.status", 13, &topic), DATABASE_ERROR);
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
		LOOKUP_TEST(a_range_is_from_the_oldest_to_the_newest),
		LOOKUP_TEST(a_range_tells_that_events_were_pruned),
		LOOKUP_TEST(a_topic_is_found_byte_by_byte_and_until_its_expiry),
		LOOKUP_TEST(a_topic_comes_with_the_newest_id_of_all_events),
		LOOKUP_TEST(what_cannot_be_read_is_no_topic_and_no_range),
		LOOKUP_TEST(no_read_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
