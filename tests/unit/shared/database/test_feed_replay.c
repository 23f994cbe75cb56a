/*
 * Replaying a topic's events on a real database that somebody else writes: the batches and their
 * position, gaps, and what is left after a read that failed.
 */
#include "tests/unit/shared/database/feed_fixture.h"

#include "shared/database/nodes.h"

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
	struct feed_batch batch = {
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

static void pushes_of_other_topics_that_are_gone_are_no_gap(void **state)
{
	int64_t position = 0;

	(void)state;
	execute(writer, "INSERT INTO topics VALUES ('t', 0, 0, 9e18), ('u', 0, 0, 9e18)");
	add_pushes("u", 3);
	add_pushes("t", 2);
	execute(writer, "DELETE FROM events WHERE topic = 'u' OR kind = 3");
	assert_string_equal(replayed(&position, 5, 1), "4:0t=1");
	assert_int_equal(position, 4);
	execute(writer, "DELETE FROM events WHERE payload = 1");
	assert_string_equal(replayed(&position, 5, MANY), "5:0t=2");
	assert_gap(3);
}

static void a_replay_that_failed_goes_on_where_it_was(void **state)
{
	struct feed_batch batch = {
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

static void a_replay_of_old_events_does_not_move_where_a_node_of_a_cluster_is(void **state)
{
	struct nodes *nodes = nodes_new(database);
	struct client_position client = {.nameless_id = 0};
	struct position here = {.id = 0};
	struct feed_batch batch = {.topic = "t",
				   .topic_len = 1,
				   .position = first_id,
				   .until = first_id + 2,
				   .max_rows = MANY,
				   .client = &client};

	(void)state;
	execute(writer, "UPDATE cluster SET (relayed_id, joined_id) = "
			"(SELECT max(id), max(id) FROM events)");
	feed_close(feed);
	feed = feed_open(database, nodes, why);
	add_pushes("t", 5);
	polled(MANY, false);
	assert_int_equal(feed_here(feed)->own, first_id + 5);
	forget();
	assert_int_equal(feed_replay(feed, &batch, take_replayed, &taken), DATABASE_OK);
	assert_string_equal(taken, "1:0t=1 2:0t=2");
	assert_int_equal(nodes_position(nodes, first_id + 5, &here), SQLITE_OK);
	assert_int_equal(here.own, first_id + 5);
	assert_int_equal(feed_here(feed)->own, first_id + 5);
	nodes_free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FEED_TEST(a_replay_hands_out_what_came_after_its_position),
		FEED_TEST(a_replay_comes_in_batches_without_gap_or_repeat),
		FEED_TEST(a_replay_ends_at_its_last_id_whatever_came_since),
		FEED_TEST(other_topics_and_orders_are_passed_over_but_counted),
		FEED_TEST(a_client_that_has_had_enough_ends_the_batch),
		FEED_TEST(events_pruned_before_the_replay_came_to_them_are_a_gap),
		FEED_TEST(pushes_of_other_topics_that_are_gone_are_no_gap),
		FEED_TEST(a_replay_that_failed_goes_on_where_it_was),
		FEED_TEST(a_replay_leaves_the_feeds_position_alone),
		FEED_TEST(a_replay_of_old_events_does_not_move_where_a_node_of_a_cluster_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
