/*
 * What is found in a real database that somebody else writes: topics, and how much of what was
 * published to them is gone; nothing when it cannot be read, and no read is left open.
 */
#include "tests/unit/shared/database/feed_fixture.h"
#include "tests/unit/numbers.h"

#include "shared/database/registry.h"

static struct registry *registry;

static int open_both(void **state)
{
	if (open_feed(state) != 0)
		return -1;
	registry = registry_new(database, NULL);
	return registry ? 0 : -1;
}

static int close_both(void **state)
{
	registry_free(registry);
	registry_free(NULL);
	return close_feed(state);
}

#define LOOKUP_TEST(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

static struct registered_topic found_from(int64_t position, const char *topic, size_t len)
{
	struct registered_topic result = {
		.registered = true, .require_token = true, .here = {.id = 1}, .can_recover = true};

	assert_int_equal(registry_find(registry, topic, len, number_position(position), &result),
			 DATABASE_OK);
	return result;
}

static struct registered_topic found(const char *topic, size_t len)
{
	return found_from(0, topic, len);
}

static bool can_recover(int64_t position, const char *topic)
{
	return found_from(position, topic, strlen(topic)).can_recover;
}

static void register_topic(const char *topic)
{
	char *sql = sqlite3_mprintf("INSERT INTO topics VALUES (%Q, 0, 0, 9e18) ON CONFLICT "
				    "DO UPDATE SET expires_ms = expires_ms + 1",
				    topic);

	execute(writer, sql);
	sqlite3_free(sql);
}

/* The oldest `count` events. */
static void prune(int count)
{
	char sql[128];

	snprintf(sql, sizeof(sql),
		 "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT %d)",
		 count);
	execute(writer, sql);
}

/* What a subscriber of it must have had, whether the registry is asked or the feed; ids count from
 * first_id. */
static int64_t pruned(const char *topic)
{
	int64_t id = feed_pruned_id(feed, topic, strlen(topic));

	assert_true(can_recover(id, topic));
	assert_false(can_recover(id - 1, topic));
	return id - first_id;
}

static void a_topic_knows_which_of_its_own_pushes_are_gone(void **state)
{
	(void)state;
	register_topic("t");
	register_topic("u");
	assert_int_equal(pruned("t"), 0); /* before the database was made nothing is known */
	add_pushes("t", 2); /* 1, 2 */
	add_pushes("u", 3); /* 3, 4, 5 */
	add_pushes("t", 2); /* 6, 7 */
	assert_int_equal(pruned("t"), 0);
	prune(2); /* up to 1 */
	assert_int_equal(pruned("t"), 1);
	assert_int_equal(pruned("u"), 0);
	prune(4); /* up to 5 */
	assert_int_equal(pruned("t"), 2);
	assert_int_equal(pruned("u"), 5);
	prune(1);
	assert_int_equal(pruned("t"), 6);
	assert_int_equal(pruned("u"), 5);
	assert_int_equal(pruned("worker.status"), 0);
}

static void a_topic_registered_again_knows_it_still(void **state)
{
	(void)state;
	register_topic("t");
	add_pushes("t", 1);
	add_pushes("u", 3);
	prune(4);
	register_topic("t");
	execute(writer, "INSERT OR REPLACE INTO topics SELECT * FROM topics WHERE topic = 't'");
	assert_int_equal(pruned("t"), 1);
}

static void a_topic_registered_anew_does_not_know_what_was_before(void **state)
{
	(void)state;
	register_topic("t");
	add_pushes("t", 1);
	execute(writer, "DELETE FROM topics WHERE topic = 't'");
	add_pushes("u", 3);
	prune(3); /* the oldest is 3 */
	register_topic("t");
	assert_int_equal(pruned("t"), 2);
	prune(1);
	assert_int_equal(pruned("t"), 2);
}

static void of_a_topic_that_is_not_registered_all_that_is_gone_counts(void **state)
{
	(void)state;
	add_pushes("u", 3);
	prune(3);
	assert_int_equal(feed_pruned_id(feed, "t", 1), first_id + 2);
}

static void orders_that_are_gone_are_known_together(void **state)
{
	(void)state;
	assert_int_equal(feed_pruned_id(feed, "", 0), first_id);
	register_topic("t");
	add(EVENT_DISCONNECT, NULL, NULL); /* 1 */
	add(EVENT_UNREGISTER, "t", NULL); /* 2 */
	add_pushes("t", 2);
	prune(2);
	assert_int_equal(feed_pruned_id(feed, "", 0), first_id + 1);
	prune(2);
	assert_int_equal(feed_pruned_id(feed, "", 0), first_id + 2);
	assert_int_equal(pruned("t"), 3);
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
	assert_int_equal(found("worker.status", 13).here.id, first_id);
	add_pushes("u", 3);
	assert_int_equal(found("worker.status", 13).here.id, first_id + 3);
}

static void a_position_is_one_of_this_database_or_nothing_is_recovered(void **state)
{
	(void)state;
	register_topic("t");
	add_pushes("t", 2); /* 1, 2 */
	add_pushes("u", 1); /* 3 */
	for (int64_t id = first_id; id <= first_id + 3; id++)
		assert_true(can_recover(id, "t"));
	assert_false(can_recover(first_id - 1, "t"));
	assert_false(can_recover(first_id + 4, "t")); /* nobody has that one yet */
	assert_false(can_recover(0, "t"));
	assert_false(can_recover(INT64_MAX, "t"));
	assert_false(can_recover(first_id, "nobody"));

	char sql[256];
	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (id, kind, created_ms) VALUES (%lld, 4, 0);"
		 "INSERT INTO id_jumps VALUES (%lld, %lld, 'boot')",
		 (long long)first_id + 1000, (long long)first_id + 1000, (long long)first_id + 3);
	execute(writer, sql);
	assert_true(can_recover(first_id + 3, "t")); /* the last one before the jump */
	assert_false(can_recover(first_id + 4, "t")); /* ids that may have been another's */
	assert_false(can_recover(first_id + 999, "t"));
	assert_true(can_recover(first_id + 1000, "t"));
	assert_false(can_recover(first_id + 1001, "t"));
}

/* Somebody has put back a file that was deleted, and goes on in another one than this connection.
 */
static void nobody_is_refused_for_what_others_know(void **state)
{
	char path[160];
	struct database *other = open_database();
	struct registered_topic topic;

	(void)state;
	register_topic("t");
	add_pushes("t", 2); /* 1, 2 */
	snprintf(path, sizeof(path), "%s/worker.db", state_dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(database_write_begin(other, INT64_MAX), DATABASE_OK);
	database_write_end(other);
	sqlite3_close(writer);
	writer = open_by_hand();
	register_topic("u");
	add_pushes("t", 3); /* 3, 4, 5 */

	assert_true(can_recover(first_id + 2, "t"));
	assert_int_equal(registry_find(registry, "t", 1, number_position(first_id + 5), &topic),
			 DATABASE_BUSY);
	assert_int_equal(registry_find(registry, "u", 1, number_position(first_id), &topic),
			 DATABASE_BUSY);
	assert_string_equal(polled(MANY, true), "1:0t=1 2:0t=2"); /* it has noticed */
	assert_true(can_recover(first_id + 5, "t"));
	assert_true(can_recover(first_id, "u"));
	assert_false(can_recover(first_id + 6, "t"));
	assert_false(found("v", 1).registered);
	assert_string_equal(polled(MANY, false), "3:0t=1 4:0t=2 5:0t=3");
	database_close(other);
}

static void what_cannot_be_read_is_no_topic_and_vouches_for_nothing(void **state)
{
	struct registered_topic topic = {.registered = true};

	(void)state;
	set_failing(true);
	assert_int_equal(registry_find(registry, "worker.status", 13, NULL, &topic),
			 DATABASE_ERROR);
	assert_false(topic.registered);
	assert_int_equal(feed_pruned_id(feed, "worker.status", 13), INT64_MAX);
	set_failing(false);
	assert_true(found("worker.status", 13).registered);
	assert_int_equal(feed_pruned_id(feed, "worker.status", 13), first_id);
}

/* A reader that holds its snapshot would keep the log from being copied back. */
static void no_read_is_left_open(void **state)
{
	int64_t position = 0;

	(void)state;
	add_pushes("t", 3);
	polled(1, true);
	stop_after = 1;
	replayed(&position, 3, MANY);
	found("worker.status", 13);
	feed_pruned_id(feed, "worker.status", 13);
	for (sqlite3_stmt *next = NULL;
	     (next = sqlite3_next_stmt(database_handle(database), next));)
		if (sqlite3_stmt_busy(next))
			fail_msg("still being read: %s", sqlite3_sql(next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOKUP_TEST(a_topic_knows_which_of_its_own_pushes_are_gone),
		LOOKUP_TEST(a_topic_registered_again_knows_it_still),
		LOOKUP_TEST(a_topic_registered_anew_does_not_know_what_was_before),
		LOOKUP_TEST(of_a_topic_that_is_not_registered_all_that_is_gone_counts),
		LOOKUP_TEST(orders_that_are_gone_are_known_together),
		LOOKUP_TEST(a_topic_is_found_byte_by_byte_and_until_its_expiry),
		LOOKUP_TEST(a_topic_comes_with_the_newest_id_of_all_events),
		LOOKUP_TEST(a_position_is_one_of_this_database_or_nothing_is_recovered),
		LOOKUP_TEST(nobody_is_refused_for_what_others_know),
		LOOKUP_TEST(what_cannot_be_read_is_no_topic_and_vouches_for_nothing),
		LOOKUP_TEST(no_read_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
