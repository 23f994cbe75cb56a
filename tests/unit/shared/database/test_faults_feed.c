/*
 * The gateway's reading while SQLite's calls fail, see fault_sweep.h: each event is handed out
 * once, in order and with its own bytes, however often reading failed; what is not known is an
 * error and never an answer.
 */
#include "tests/unit/fault_sweep.h"

#include "shared/database/feed.h"
#include "shared/database/nodes.h"
#include "shared/database/registry.h"

#define TOPIC "a topic"

enum { PAYLOAD_LEN = 20000, EVENTS = 4, FOREVER = 1 << 20 }; /* a payload of several pages */

static struct database *database;
static struct feed *feed;
static struct registry *registry;
static struct nodes *nodes; /* NULL: a single one */
static char why[DATABASE_WHY_SIZE];

static int open_feed(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	feed = feed_open(database, nodes, why);
	registry = registry_new(database, nodes);
	open_witness();
	return feed && registry ? 0 : -1;
}

/* The same in a cluster, where its own events are to be found among those of others. */
static int open_node(void **state)
{
	if (open_feed(state) != 0)
		return -1;
	feed_close(feed);
	registry_free(registry);
	execute(witness, "UPDATE cluster SET (relayed_id, joined_id) = (SELECT max(id), max(id) "
			 "FROM events), node = '0000000000000001';"
			 "INSERT INTO nodes (node, last_id) VALUES ('000000000000000a', 7);"
			 "INSERT INTO events (kind, created_ms, origin) VALUES "
			 "(0, 0, '000000000000000a.0000000000000007'), (0, 0, '00000000000000ff')");
	nodes = nodes_new(database);
	feed = feed_open(database, nodes, why);
	registry = registry_new(database, nodes);
	return feed && registry ? 0 : -1;
}

static int close_feed(void **state)
{
	tell_attempt();
	feed_close(feed);
	registry_free(registry);
	nodes_free(nodes);
	nodes = NULL;
	database_close(database);
	close_witness();
	return remove_base(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, open_feed, close_feed)
#define CLUSTER_TEST(test) cmocka_unit_test_setup_teardown(test, open_node, close_feed)

static const unsigned reads = REACHES(CALL_READ) | REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC);

static int64_t start_id; /* the newest one before what an attempt adds */
static int64_t next_id; /* that must be handed out */

/* Adds pushes with payloads that differ, and an order in their middle. Short topics and payloads
 * fit into a page whole, long ones do not. */
static void add_events(void)
{
	char sql[200];

	execute(witness,
		"BEGIN IMMEDIATE;"
		"INSERT OR REPLACE INTO topics VALUES ('" TOPIC "', 1, 1, 9000000000000000);"
		"DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	start_id = query_number(witness, "SELECT max(id) FROM events");
	next_id = start_id + 1;
	for (int i = 1; i <= EVENTS; i++) {
		snprintf(sql, sizeof(sql),
			 "INSERT INTO events (kind, topic, created_ms, payload) "
			 "VALUES (0, '" TOPIC "', 7, printf('%%0*d', %d, %d))",
			 i % 2 ? PAYLOAD_LEN : 10, i);
		execute(witness, sql);
		if (i == EVENTS / 2)
			execute(witness, "INSERT INTO events (kind, topic, created_ms, user_id) "
					 "VALUES (2, '" TOPIC "', 7, 8)");
	}
	execute(witness, "COMMIT");
}

/* The event after the last one that was handed out. */
static void expect_event(const struct feed_event *event)
{
	assert_int_equal(event->id, next_id);
	assert_int_equal(event->topic_len, strlen(TOPIC));
	assert_memory_equal(event->topic, TOPIC, strlen(TOPIC));
	next_id++;
}

static void expect_payload(const struct feed_event *event)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT length(payload) FROM events WHERE id = %lld",
		 (long long)event->id);
	assert_int_equal(event->payload_len, query_number(witness, sql));
	snprintf(sql, sizeof(sql), "SELECT substr(payload, -10) FROM events WHERE id = %lld",
		 (long long)event->id);
	assert_memory_equal(event->payload + event->payload_len - 10, query(witness, sql), 10);
	assert_int_equal(event->created_ms, 7);
}

/* What is compared with is read without faults. */
static void expect(struct feed_event *event, bool has_payload)
{
	const struct fault *fault = plan.fault;

	plan.fault = NULL;
	expect_event(event);
	if (has_payload)
		expect_payload(event);
	plan.fault = fault;
}

static bool take(void *context, struct feed_event *event)
{
	(void)context;
	if (event->kind == EVENT_DISCONNECT) {
		assert_true(event->has_user && event->user_id == 8);
		expect(event, false);
		return true;
	}
	if (!feed_payload(event))
		return false;
	expect(event, true);
	return true;
}

static bool run_poll(void)
{
	bool more;

	return feed_poll(feed, EVENTS * 2, take, NULL, &more) == DATABASE_OK;
}

static void check_poll(bool done)
{
	assert_at_rest(database);
	assert_int_equal(feed_position(feed), next_id - 1);
	if (!done)
		assert_true(run_poll());
	assert_int_equal(next_id - 1, query_number(witness, "SELECT max(id) FROM events"));
	assert_int_equal(feed_position(feed), next_id - 1);
}

static void no_event_is_skipped_changed_or_doubled(void **state)
{
	(void)state;
	sweep(&(struct operation){"poll", reads, add_events, run_poll, check_poll});
}

static struct registered_topic found;

static bool run_find_topic(void)
{
	struct position elsewhere = {.node = 0xa, .id = 9, .own = 7};

	position_set(&elsewhere, 1, start_id + 1);
	return registry_find(registry, TOPIC, strlen(TOPIC), nodes ? &elsewhere : NULL, &found) ==
	       DATABASE_OK;
}

static void check_find_topic(bool done)
{
	assert_at_rest(database);
	if (!done)
		return;
	assert_true(found.registered && found.require_token);
	assert_int_equal(found.here.id, start_id + EVENTS + 1);
	if (!nodes)
		return;
	assert_true(found.can_recover);
	assert_int_equal(found.after_id, start_id + 1);
	assert_int_equal(found.here.own, start_id + EVENTS + 1);
	assert_int_equal(position_newest(&found.here, 0xa), 7);
}

static int64_t pruned_id;

static bool run_find_pruned(void)
{
	pruned_id = feed_pruned_id(feed, TOPIC, strlen(TOPIC));
	return pruned_id != INT64_MAX;
}

static void check_find_pruned(bool done)
{
	assert_at_rest(database);
	if (done)
		assert_in_range(pruned_id, start_id - EVENTS - 1, start_id);
}

static void what_is_not_known_is_no_answer(void **state)
{
	(void)state;
	sweep(&(struct operation){"find_topic", reads, add_events, run_find_topic,
				  check_find_topic});
	sweep(&(struct operation){"find_pruned", reads, add_events, run_find_pruned,
				  check_find_pruned});
}

static struct feed_batch replay;

static bool take_replayed(void *context, struct feed_event *event)
{
	(void)context;
	if (!feed_payload(event))
		return false;
	if (event->id == start_id + EVENTS / 2 + 2)
		next_id++; /* the order before it is no push */
	expect(event, true);
	return true;
}

/* In batches of two rows. */
static bool run_replay(void)
{
	while (replay.position < replay.until)
		if (feed_replay(feed, &replay, take_replayed, NULL) != DATABASE_OK)
			return false;
	return true;
}

static void prepare_replay(void)
{
	add_events();
	replay = (struct feed_batch){.topic = TOPIC,
				     .topic_len = strlen(TOPIC),
				     .position = start_id,
				     .until = start_id + EVENTS + 1,
				     .max_rows = 2};
}

static void check_replay(bool done)
{
	assert_at_rest(database);
	assert_false(replay.has_gap);
	if (!done)
		assert_true(run_replay());
	assert_int_equal(next_id, start_id + EVENTS + 2);
	assert_int_equal(replay.position, replay.until);
}

static void a_replay_goes_on_where_it_failed(void **state)
{
	(void)state;
	sweep(&(struct operation){"replay", reads, prepare_replay, run_replay, check_replay});
}

static struct feed *second;

static bool run_open(void)
{
	second = feed_open(database, nodes, why);
	return second != NULL;
}

static void check_open(bool done)
{
	assert_at_rest(database);
	if (done)
		assert_int_equal(feed_position(second), start_id + EVENTS + 1);
	else
		assert_true(why[0]);
	feed_close(second);
	/* A connection on which a statement could not be prepared is of no use any more. */
	feed_close(feed);
	registry_free(registry);
	database_close(database);
	database = open_database();
	if (nodes) {
		nodes_free(nodes);
		nodes = nodes_new(database);
	}
	feed = feed_open(database, nodes, why);
	registry = registry_new(database, nodes);
	assert_true(feed && registry);
}

static void a_feed_starts_at_the_newest_event_or_not_at_all(void **state)
{
	(void)state;
	sweep(&(struct operation){"open", reads, add_events, run_open, check_open});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(no_event_is_skipped_changed_or_doubled),
		FAULT_TEST(what_is_not_known_is_no_answer),
		FAULT_TEST(a_replay_goes_on_where_it_failed),
		FAULT_TEST(a_feed_starts_at_the_newest_event_or_not_at_all),
		CLUSTER_TEST(no_event_is_skipped_changed_or_doubled),
		CLUSTER_TEST(what_is_not_known_is_no_answer),
		CLUSTER_TEST(a_replay_goes_on_where_it_failed),
		CLUSTER_TEST(a_feed_starts_at_the_newest_event_or_not_at_all),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
