// needs: api/store.c api/polls.c
/*
 * The API's SQL while SQLite's calls fail, see fault_sweep.h: an operation that says that it was
 * done was committed, one that says that it was not has changed nothing (when the disk could not be
 * synced it may be there in whole), and reads say the truth or that they could not be done.
 */
#include "tests/unit/fault_sweep.h"

#include "api/polls.h"
#include "api/store.h"
#include "shared/counters/totals.h"
#include "shared/counters/gauges.h"
#include "shared/database/schema.h"

#define TOPIC "a topic"
#define OTHER_TOPIC "another topic"

enum { PAYLOAD_LEN = 20000, USER = 7 }; /* a payload of several pages */

static struct database *database;
static struct liveness *liveness;
static struct totals *totals;
static struct gauge_reader *gauge_reader;
static struct store *store;
static struct polls *polls;
static char payload[PAYLOAD_LEN + 1];

static int open_store(void **state)
{
	if (make_base(state) != 0)
		return -1;
	config.durability = CONFIG_DURABILITY_FULL;
	database = open_database();
	liveness = liveness_open(state_dir);
	assert_true(liveness_claim_pid(liveness, getpid()));
	gauge_reader = gauge_reader_new(database, liveness, NULL);
	store = store_open(&config, database);
	totals = totals_new(database);
	config.worker_secret = config.worker_secret_previous = (char *)"";
	polls = polls_open(&config, database, (char[DATABASE_WHY_SIZE]){0});
	assert_non_null(polls);
	memset(payload, '1', PAYLOAD_LEN);
	open_witness();
	return 0;
}

static int close_store(void **state)
{
	tell_attempt();
	polls_close(polls);
	store_close(store);
	gauge_reader_free(gauge_reader);
	totals_free(totals);
	liveness_close(liveness);
	database_close(database);
	close_witness();
	return remove_base(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

/* A failure is never taken for something else. */
static bool is_done(enum database_status status)
{
	return status == DATABASE_OK;
}

static int64_t newest_id; /* before the attempt */
static int64_t said; /* by the operation: an id, a number */

static bool execute_command(struct command *command)
{
	struct store_result result;

	if (command->has_topic)
		memcpy(command->topic, TOPIC, command->topic_len = strlen(TOPIC));
	bool done = is_done(store_execute(store, command, &result));
	if (done)
		assert_true(result.done);
	said = result.number;
	return done;
}

/* A commit by somebody else: what the connection has in its cache is worth nothing any more. */
static void disturb(void)
{
	execute(witness, "BEGIN IMMEDIATE;"
			 "DELETE FROM topics WHERE topic <> 'worker.status';"
			 "INSERT INTO topics VALUES ('" OTHER_TOPIC "', 0, 1, 9000000000000000);"
			 "INSERT INTO events (kind, topic, created_ms) VALUES (0, 'x', 0);"
			 "DELETE FROM events WHERE id < (SELECT max(id) FROM events) - 3;"
			 "COMMIT");
	newest_id = query_number(witness, "SELECT max(id) FROM events");
}

static void disturb_and_enrol(void)
{
	disturb();
	execute(witness, "INSERT INTO topics VALUES ('" TOPIC "', 0, 1, 9000000000000000)");
}

static int64_t count(const char *what)
{
	char sql[256];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", what);
	return query_number(witness, sql);
}

static int64_t count_orders(enum event_kind kind, const char *and)
{
	char what[160];

	snprintf(what, sizeof(what), "events WHERE id > %lld AND kind = %d %s",
		 (long long)newest_id, (int)kind, and);
	return count(what);
}

/* Whether the change is there: as the operation said, unless only the sync failed. */
static bool is_there(bool done, int64_t found)
{
	assert_in_range(found, 0, 1);
	return strstr(attempt, "xSync") && !done ? found : done;
}

static bool run_register(void)
{
	return execute_command(&(struct command){
		.kind = COMMAND_REGISTER, .has_topic = true, .require_token = true});
}

static void check_register(bool done)
{
	assert_at_rest(database);
	int64_t found = count("topics WHERE topic = '" TOPIC "' AND require_token");
	assert_int_equal(found, is_there(done, found));
}

static void register_is_committed_or_refused(void **state)
{
	(void)state;
	sweep(&(struct operation){"register",
				  REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
					  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
				  disturb, run_register, check_register});
}

static bool run_publish(void)
{
	return execute_command(&(struct command){.kind = COMMAND_PUBLISH,
						 .has_topic = true,
						 .payload = {JSON_STRING, payload, PAYLOAD_LEN}});
}

static void check_publish(bool done)
{
	assert_at_rest(database);
	int64_t found = count_orders(EVENT_PUSH, "");
	assert_int_equal(found, is_there(done, found));
	if (!done)
		return;
	assert_int_equal(said, newest_id + 1);
	assert_string_equal(query(witness, "SELECT payload = replace(hex(zeroblob(10000)), '0', "
					   "'1') FROM events ORDER BY id DESC LIMIT 1"),
			    "1");
}

static void an_event_that_got_an_id_is_there(void **state)
{
	(void)state;
	sweep(&(struct operation){"publish",
				  REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
					  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
				  disturb_and_enrol, run_publish, check_publish});
}

static bool run_unregister(void)
{
	return execute_command(&(struct command){.kind = COMMAND_UNREGISTER, .has_topic = true});
}

static void check_unregister(bool done)
{
	assert_at_rest(database);
	int64_t found = count_orders(EVENT_UNREGISTER, "AND topic = '" TOPIC "'");
	assert_int_equal(found, is_there(done, found));
	assert_int_equal(count("topics WHERE topic = '" TOPIC "'"), !found);
}

static void a_topic_goes_with_its_order_or_not_at_all(void **state)
{
	(void)state;
	sweep(&(struct operation){"unregister",
				  REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
					  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
				  disturb_and_enrol, run_unregister, check_unregister});
}

static void disturb_and_relay(void)
{
	disturb_and_enrol();
	execute(witness, "UPDATE topics SET require_token = 0; DELETE FROM topics_to_relay");
}

static void check_relayed_register(bool done)
{
	check_register(done);
	assert_int_equal(count("topics_to_relay"),
			 count("topics WHERE topic = '" TOPIC "' AND require_token"));
}

static void check_relayed_unregister(bool done)
{
	check_unregister(done);
	assert_int_equal(count("topics_to_relay"), !count("topics WHERE topic = '" TOPIC "'"));
}

static void in_a_cluster_redis_is_told_of_what_was_done_and_of_nothing_else(void **state)
{
	const unsigned calls = REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
			       REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC);

	(void)state;
	config.redis_url = (char[]){"redis://localhost"};
	sweep(&(struct operation){"register in a cluster", calls, disturb_and_relay, run_register,
				  check_relayed_register});
	sweep(&(struct operation){"unregister in a cluster", calls, disturb_and_relay,
				  run_unregister, check_relayed_unregister});
}

/* This process is the only gateway: two users on one topic, one of them on another too. */
static void disturb_and_connect(void)
{
	char sql[512];

	disturb();
	liveness_beat(liveness);
	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE;"
		 "INSERT OR REPLACE INTO gateways (" GATEWAY_COLUMNS
		 ") VALUES (%d, '', '', 1, 1, %lld, -1, 5);"
		 "DELETE FROM sessions;"
		 "INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		 "expires_ms) VALUES (%d, 0, '" TOPIC "', 7, '', 1, NULL), "
		 "(%d, 1, '" TOPIC "', 8, '', 1, NULL), (%d, 2, '" OTHER_TOPIC "', 7, '', 1, NULL);"
		 "INSERT OR REPLACE INTO counters VALUES ('publishes', '', 3);"
		 "COMMIT",
		 getpid(), (long long)newest_id, getpid(), getpid(), getpid());
	execute(witness, sql);
}

static bool run_disconnect(void)
{
	return execute_command(
		&(struct command){.kind = COMMAND_DISCONNECT, .has_user = true, .user_id = USER});
}

static void check_disconnect(bool done)
{
	assert_at_rest(database);
	int64_t found = count_orders(EVENT_DISCONNECT, "AND user_id = 7 AND topic IS NULL");
	assert_int_equal(found, is_there(done, found));
	if (done)
		assert_int_equal(said, 2);
}

static void an_order_to_disconnect_is_there_or_refused(void **state)
{
	(void)state;
	sweep(&(struct operation){"disconnect",
				  REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
					  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
				  disturb_and_connect, run_disconnect, check_disconnect});
}

static struct gauges gauges;
static struct counters sums;

static bool run_counts(void)
{
	return is_done(gauges_read(gauge_reader, &gauges));
}

static void check_counts(bool done)
{
	assert_at_rest(database);
	if (!done)
		return;
	assert_true(gauges.gateway_alive);
	assert_int_equal(gauges.registered_topics, 2);
	assert_int_equal(gauges.active_topics, 2);
	assert_int_equal(gauges.connected_clients, 2);
	assert_int_equal(gauges.connected_sockets, 3);
}

static bool run_gauges(void)
{
	return is_done(gauges_read_all(gauge_reader, &gauges)) &&
	       is_done(totals_read(totals, &sums));
}

static void check_gauges(bool done)
{
	assert_at_rest(database);
	if (!done)
		return;
	assert_int_equal(gauges.gateways, 1);
	assert_int_equal(gauges.outbox_bytes, 5);
	assert_int_equal(gauges.committed_event_id, newest_id);
	assert_int_equal(gauges.delivered_event_id, newest_id);
	assert_int_equal(sums.counts[COUNT_PUBLISHES], 3);
}

static char listed[256];

static void list(void *context, const char *topic, size_t topic_len)
{
	size_t len = strlen(listed);

	(void)context;
	snprintf(listed + len, sizeof(listed) - len, "%.*s;", (int)topic_len, topic ? topic : "");
}

static bool run_topics(void)
{
	listed[0] = '\0';
	return is_done(store_topics(store, false, -1, list, NULL)) &&
	       is_done(store_topics(store, true, -1, list, NULL));
}

static void check_topics(bool done)
{
	assert_at_rest(database);
	if (done)
		assert_string_equal(listed,
				    OTHER_TOPIC ";worker.status;" TOPIC ";" OTHER_TOPIC ";");
}

static void what_is_counted_and_listed_is_true_or_not_said(void **state)
{
	(void)state;
	const unsigned reaches = REACHES(CALL_READ) | REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC);

	sweep(&(struct operation){"counts", reaches, disturb_and_connect, run_counts,
				  check_counts});
	sweep(&(struct operation){"gauges", reaches, disturb_and_connect, run_gauges,
				  check_gauges});
	sweep(&(struct operation){"topics", reaches, disturb_and_connect, run_topics,
				  check_topics});
}

static struct poll poll;

/* Two pushes of the topic, one of them long, between those of others. */
static void disturb_and_push(void)
{
	char sql[512];

	disturb_and_enrol();
	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (kind, topic, created_ms, payload) VALUES (0, '" TOPIC
		 "', 0, '2'), (0, 'x', 0, 'x'), (0, '" TOPIC
		 "', 0, replace(hex(zeroblob(%d)), '0', '1')), (0, 'x', 0, 'x')",
		 PAYLOAD_LEN / 2);
	execute(witness, sql);
}

static bool run_poll(void)
{
	const struct message message = {.kind = MESSAGE_AUTH,
					.resume = MESSAGE_RESUME_AFTER,
					.last_event_id = {.id = newest_id}};

	free(poll.text);
	poll = (struct poll){0};
	enum database_status status = store_read_begin(store);
	if (status == DATABASE_OK)
		status = polls_ask(polls, TOPIC, strlen(TOPIC), &message, &poll);
	store_read_end(store);
	return is_done(status);
}

static void check_poll(bool done)
{
	char expected[PAYLOAD_LEN + 256];

	assert_at_rest(database);
	if (!done)
		return;
	assert_true(poll.is_registered && poll.verdict == AUTH_GOOD && !poll.is_quiet);
	int len = snprintf(expected, sizeof(expected),
			   "{\"type\":\"auth_ok\",\"last_event_id\":%lld,\"recovered\":true,"
			   "\"pushes\":[{\"id\":%lld,\"payload\":2},{\"id\":%lld,\"payload\":%s}]}",
			   (long long)newest_id + 4, (long long)newest_id + 1,
			   (long long)newest_id + 3, payload);
	assert_int_equal(poll.len, len);
	assert_memory_equal(poll.text, expected, (size_t)len);
}

static void a_poll_brings_all_or_says_that_it_could_not(void **state)
{
	(void)state;
	sweep(&(struct operation){
		"poll", REACHES(CALL_READ) | REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
		disturb_and_push, run_poll, check_poll});
	free(poll.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(register_is_committed_or_refused),
		FAULT_TEST(an_event_that_got_an_id_is_there),
		FAULT_TEST(in_a_cluster_redis_is_told_of_what_was_done_and_of_nothing_else),
		FAULT_TEST(a_topic_goes_with_its_order_or_not_at_all),
		FAULT_TEST(an_order_to_disconnect_is_there_or_refused),
		FAULT_TEST(what_is_counted_and_listed_is_true_or_not_said),
		FAULT_TEST(a_poll_brings_all_or_says_that_it_could_not),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
