/*
 * What a node of a cluster knows of the others: which position it gives, and what a client has not
 * had that comes with one. tests/e2e/test_positions.py has what such clients get.
 */
#include "tests/unit/shared/database/feed_fixture.h"

#include "shared/base/alloc.h"
#include "shared/database/nodes.h"
#include "shared/database/registry.h"
#include "tests/unit/numbers.h"

#define HERE "0000000000000001"
#define A "000000000000000a"
#define B "000000000000000b"
#define FOREIGN "00000000000000ff"

static struct nodes *nodes;
static struct registry *registry;

static int open_node(void **state)
{
	if (open_feed(state) != 0)
		return -1;
	feed_close(feed);
	execute(writer, "INSERT INTO topics VALUES ('t', 0, 0, 9e18), ('u', 0, 0, 9e18);"
			"INSERT INTO events (kind, topic, created_ms) VALUES (0, 't', 0);"
			"UPDATE cluster SET node = '" HERE "'");
	first_id++; /* it stays at home */
	nodes = nodes_new(database);
	registry = registry_new(database, nodes);
	feed = feed_open(database, nodes, why);
	assert_true(database_is_prepared(database, why));
	return 0;
}

static int close_node(void **state)
{
	registry_free(registry);
	nodes_free(nodes);
	return close_feed(state);
}

#define NODE_TEST(test) cmocka_unit_test_setup_teardown(test, open_node, close_node)

static void join(void)
{
	execute(writer, "UPDATE cluster SET (relayed_id, joined_id) = "
			"(SELECT max(id), max(id) FROM events)");
}

/* An event of another node arrives; number 0: of a foreign one. */
static void receive(const char *node, int number, const char *topic, int64_t created_ms)
{
	char *sql = sqlite3_mprintf(
		"INSERT INTO events (kind, topic, created_ms, origin) VALUES (0, %Q, %lld, "
		"%Q || CASE %d WHEN 0 THEN '' ELSE printf('.%%016d', %d) END);"
		"INSERT INTO nodes (node, last_id) VALUES (%Q, %d) "
		"ON CONFLICT DO UPDATE SET last_id = excluded.last_id",
		topic, (long long)created_ms, node, number, number, node, number);

	execute(writer, sql);
	sqlite3_free(sql);
}

/* A position in which the ids of this node count from first_id; -1: that part is left out. */
static struct position standing(uint64_t node, int id, int own, int a, int b)
{
	struct position position = {.node = node, .id = id};

	if (node == 1)
		position.id += first_id;
	position_set(&position, 1, own < 0 ? 0 : first_id + own);
	position_set(&position, 0xa, a);
	position_set(&position, 0xb, b);
	return position;
}

static struct registered_topic found(struct position position, const char *topic)
{
	struct registered_topic result;

	assert_int_equal(registry_find(registry, topic, strlen(topic), &position, &result),
			 DATABASE_OK);
	return result;
}

static void assert_here(int id, int own, int a, int b)
{
	struct position expected = standing(1, id, own, a, b);
	struct position here = found(expected, "t").here;

	assert_int_equal(here.id, expected.id);
	assert_int_equal(here.own, expected.own);
	assert_int_equal(position_newest(&here, 0xa), a);
	assert_int_equal(position_newest(&here, 0xb), b);
}

static void a_position_counts_what_other_nodes_get(void **state)
{
	(void)state;
	assert_here(0, -1, 0, 0); /* in no cluster yet */
	add(EVENT_PUSH, "t", "1");
	assert_here(1, -1, 0, 0);
	join();
	assert_here(1, -1, 0, 0); /* that stays at home */
	receive(A, 7, "t", 0);
	add(EVENT_IDS_JUMPED, NULL, NULL);
	add(EVENT_GAP, NULL, NULL);
	assert_here(4, -1, 7, 0);
	add(EVENT_DISCONNECT, "t", NULL);
	assert_here(5, 5, 7, 0);
	receive(B, 9, "t", 0);
	receive(A, 8, "t", 0);
	assert_here(7, 5, 8, 9);
	/* Another database is in its place. */
	execute(writer, "UPDATE cluster SET node = '000000000000000c', joined_id = joined_id + 4");
	struct position here = found(standing(1, 0, -1, 0, 0), "t").here;
	assert_int_equal(here.node, 0xc);
	assert_int_equal(here.own, 0);
}

static void assert_feed_at(int id, int own, int a, int b)
{
	struct position expected = standing(1, id, own, a, b);
	const struct position *here = feed_here(feed);

	assert_int_equal(feed_position(feed), first_id + id);
	assert_int_equal(here->own, expected.own);
	assert_true(position_reaches(here, &expected) && position_reaches(&expected, here));
}

static void the_feeds_position_moves_with_what_is_taken_and_no_further(void **state)
{
	bool more;

	(void)state;
	add(EVENT_PUSH, "t", "1");
	polled(MANY, false);
	assert_feed_at(1, -1, 0, 0);
	join();
	receive(A, 7, "t", 0);
	add(EVENT_PUSH, "u", "2");
	receive(A, 8, "t", 0);
	receive(B, 3, "u", 0);
	for (size_t i = 1; i <= 4; i++) {
		stop_after = 1;
		assert_int_equal(poll_status(MANY, &more), DATABASE_OK);
		assert_feed_at((int)i + 1, i >= 2 ? 3 : -1, i >= 3 ? 8 : 7, i >= 4 ? 3 : 0);
		if (i > 1)
			assert_here(5, 3, 8, 3); /* there is more */
	}
	feed_close(feed);
	feed = feed_open(database, nodes, why);
	assert_feed_at(5, 3, 8, 3);
}

struct resume {
	struct position position;
	bool can_recover;
	int after; /* then */
};

static void assert_resumes(const struct resume *cases, size_t count, const char *topic)
{
	for (size_t i = 0; i < count; i++) {
		struct registered_topic result = found(cases[i].position, topic);

		if (result.can_recover != cases[i].can_recover ||
		    (result.can_recover && result.after_id != first_id + cases[i].after))
			fail_msg("case %zu: %d, after %lld", i, result.can_recover,
				 (long long)(result.after_id - first_id));
	}
}

#define RESUMES(topic, ...)                                                                        \
	assert_resumes((const struct resume[]){__VA_ARGS__},                                       \
		       sizeof((const struct resume[]){__VA_ARGS__}) / sizeof(struct resume),       \
		       topic)

static void a_replay_begins_with_the_first_event_that_is_not_covered(void **state)
{
	(void)state;
	join();
	receive(A, 7, "t", 0); /* 1 */
	add(EVENT_PUSH, "t", "1"); /* 2 */
	receive(B, 3, "t", 0); /* 3 */
	receive(A, 8, "u", 0); /* 4 */
	add(EVENT_PUSH, "t", "2"); /* 5 */
	RESUMES("t", {standing(1, 3, 2, 7, 3), true, 3}, /* given here: as on a single node */
		{standing(1, 5, 5, 8, 3), true, 5}, {standing(1, 6, 5, 8, 3), false, 0},
		{standing(1, 5, 6, 8, 3), false, 0}, {standing(1, -2, -1, 0, 0), false, 0},
		{standing(0xa, 9, 5, 8, 3), true, 5}, {standing(0xa, 9, 5, 7, 3), true, 3},
		{standing(0xa, 9, 5, 8, 0), true, 2}, {standing(0xa, 9, 2, 8, 3), true, 2},
		{standing(0xa, 9, 5, 0, 3), true, 0}, {standing(0xa, 9, -1, 8, 3), true, 0},
		{standing(0xb, 9, 5, 99, 3), true, 5}, {standing(0xc, 9, 6, 8, 3), false, 0},
		{*number_position(first_id + 5), false, 0});
	execute(writer, "INSERT INTO id_jumps VALUES (2e18, (SELECT max(id) FROM events), '');"
			"INSERT INTO events (id, kind, created_ms) VALUES (2e18, 4, 0)");
	RESUMES("t", {standing(1, 6, 5, 8, 3), false, 0}, {standing(0xa, 9, 7, 8, 3), false, 0},
		{standing(0xa, 9, 2, 8, 3), true, 2});
}

static void what_will_never_come_is_missing_on_every_topic(void **state)
{
	(void)state;
	join();
	receive(A, 7, "t", 0);
	execute(writer, "UPDATE nodes SET missing_id = 6");
	RESUMES("t", {standing(1, 1, -1, 6, 0), true, 1}, {standing(1, 1, -1, 5, 0), false, 0},
		{standing(0xb, 9, -1, 6, 0), true, 0}, {standing(0xb, 9, -1, 5, 0), false, 0});
}

static void what_was_pruned_is_missing_to_whoever_has_not_had_it(void **state)
{
	(void)state;
	join();
	receive(A, 7, "t", 0); /* 1 */
	receive(A, 8, "u", 0); /* 2 */
	add(EVENT_PUSH, "u", "1"); /* 3 */
	add(EVENT_PUSH, "t", "2"); /* 4 */
	receive(A, 9, "t", 0); /* 5 */
	execute(writer, "DELETE FROM events WHERE id < (SELECT max(id) - 1 FROM events)");
	RESUMES("t", {standing(1, 1, -1, 7, 0), true, 1}, {standing(1, 0, -1, 7, 0), false, 0},
		{standing(0xb, 9, -1, 8, 0), false,
		 0}, /* the own one of another topic: who knows */
		{standing(0xb, 9, 3, 8, 0), true, 3}, {standing(0xb, 9, 3, 7, 0), true, 3},
		{standing(0xb, 9, 4, 8, 0), true, 4});
	RESUMES("u", {standing(1, 3, 3, 8, 0), true, 3}, {standing(1, 2, -1, 8, 0), false, 0},
		{standing(0xb, 9, 3, 8, 0), true, 3}, {standing(0xb, 9, -1, 8, 0), false, 0});
}

static void whoever_has_had_what_was_pruned_begins_after_it(void **state)
{
	(void)state;
	join();
	add(EVENT_PUSH, "u", "1"); /* 1 */
	receive(A, 7, "t", 0); /* 2 */
	add(EVENT_PUSH, "u", "2"); /* 3 */
	execute(writer, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	RESUMES("t", {standing(0xa, 9, 1, 7, 0), true, 2}, {standing(0xa, 9, 1, 6, 0), false, 0});
}

static void a_foreign_nodes_events_are_known_by_their_time(void **state)
{
	const int64_t minute_ms = 60000, now_ms = 100 * minute_ms;

	(void)state;
	join();
	receive(FOREIGN, 0, "t", now_ms - minute_ms);
	receive(FOREIGN, 0, "u", now_ms);
	receive(A, 7, "v", now_ms);
	RESUMES("t", {standing(0xa, 9, -1, 7, 0), true, 3}, {standing(0xa, 9, -1, 0, 0), false, 0},
		{standing(1, 0, -1, 0, 0), true, 0});
	RESUMES("u", {standing(0xa, 9, -1, 7, 0), false, 0}, {standing(1, 1, -1, 0, 0), true, 1});
	execute(writer, "INSERT INTO topics VALUES ('v', 0, 0, 9e18)");
	execute(writer, "BEGIN");
	for (int i = 0; i < MANY; i++)
		receive(FOREIGN, 0, "u", now_ms + 1);
	RESUMES("t", {standing(0xa, 9, -1, 7, 0), true, 3});
	execute(writer, "COMMIT");
	RESUMES("t", {standing(0xa, 9, -1, 7, 0), false, 0}); /* that many are not looked at */
	receive(A, 8, "u", now_ms + 2 * minute_ms);
	RESUMES("t", {standing(0xa, 9, -1, 8, 0), true, 4 + MANY});
	for (int i = 0; i < MANY / 10; i++) {
		char node[17];

		snprintf(node, sizeof(node), "f%015d", i);
		receive(node, 0, "v", 0);
	}
	RESUMES("t", {standing(0xa, 9, -1, 8, 0), false, 0}); /* nor are that many nodes */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODE_TEST(a_position_counts_what_other_nodes_get),
		NODE_TEST(the_feeds_position_moves_with_what_is_taken_and_no_further),
		NODE_TEST(a_replay_begins_with_the_first_event_that_is_not_covered),
		NODE_TEST(what_will_never_come_is_missing_on_every_topic),
		NODE_TEST(what_was_pruned_is_missing_to_whoever_has_not_had_it),
		NODE_TEST(whoever_has_had_what_was_pruned_begins_after_it),
		NODE_TEST(a_foreign_nodes_events_are_known_by_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
