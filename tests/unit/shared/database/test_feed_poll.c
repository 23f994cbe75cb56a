/*
 * Reading new events on a real database that somebody else writes: where it starts, their order and
 * bytes, the position, and what is left after a read that failed.
 */
#include "tests/unit/shared/database/feed_fixture.h"

static void it_starts_at_the_newest_event(void **state)
{
	(void)state;
	assert_int_equal(feed_position(feed), first_id);
	add_pushes("t", 3);
	feed_close(feed);
	feed = feed_open(database, NULL, why);
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

static bool is_another;

/* Whoever prunes does not know how far this reader is. */
static void rows_that_were_gone_before_they_were_read_are_a_gap(void **state)
{
	(void)state;
	add_pushes("t", 2);
	assert_string_equal(polled(MANY, false), "1:0t=1 2:0t=2");
	execute(writer, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	add_pushes("t", 5);
	assert_string_equal(polled(1, true), "3:0t=1");
	assert_int_equal(feed_gap(feed, &is_another), 0);
	execute(writer, "DELETE FROM events WHERE payload < 4");
	stop_after = 0; /* nothing is taken, and the gap is noticed once all the same */
	assert_string_equal(polled(MANY, true), "");
	assert_int_equal(feed_gap(feed, &is_another), first_id + 3);
	assert_false(is_another);
	stop_after = SIZE_MAX;
	assert_string_equal(polled(MANY, false), "6:0t=4 7:0t=5");
	assert_int_equal(feed_gap(feed, &is_another), 0);
	assert_string_equal(polled(MANY, false), "");
	assert_int_equal(feed_gap(feed, &is_another), 0);
}

static void of_gaps_that_nobody_has_asked_for_the_first_one_counts(void **state)
{
	(void)state;
	add_pushes("t", 6);
	execute(writer, "DELETE FROM events WHERE payload IN (1, 3, 5)");
	assert_string_equal(polled(1, true), "2:0t=2");
	assert_string_equal(polled(MANY, false), "4:0t=4 6:0t=6");
	assert_int_equal(feed_gap(feed, &is_another), first_id);
	assert_int_equal(feed_gap(feed, &is_another), 0);
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

static void what_is_not_taken_comes_again(void **state)
{
	(void)state;
	add_pushes("t", 4);
	stop_after = 2;
	assert_string_equal(polled(MANY, true), "1:0t=1 2:0t=2");
	assert_int_equal(feed_position(feed), first_id + 2);
	stop_after = 0;
	assert_string_equal(polled(MANY, true), "");
	stop_after = SIZE_MAX;
	assert_string_equal(polled(MANY, false), "3:0t=3 4:0t=4");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		FEED_TEST(it_starts_at_the_newest_event),
		FEED_TEST(what_is_new_comes_once_and_in_order),
		FEED_TEST(ids_may_have_gaps),
		FEED_TEST(rows_that_were_gone_before_they_were_read_are_a_gap),
		FEED_TEST(of_gaps_that_nobody_has_asked_for_the_first_one_counts),
		FEED_TEST(a_poll_is_bounded_and_says_when_there_may_be_more),
		FEED_TEST(what_is_not_committed_is_not_there),
		FEED_TEST(pruning_what_was_handed_out_changes_nothing),
		FEED_TEST(topics_and_payloads_come_byte_for_byte),
		FEED_TEST(an_event_without_topic_or_payload_has_empty_ones),
		FEED_TEST(what_is_not_taken_comes_again),
		FEED_TEST(a_payload_is_read_only_when_it_is_asked_for),
		FEED_TEST(after_a_read_that_failed_the_same_events_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
