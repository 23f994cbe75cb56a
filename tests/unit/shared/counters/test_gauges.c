/*
 * Who is counted: sessions of living gateways, users once, live topics.
 */
#include "tests/unit/database_fixture.h"
#include "shared/counters/gauges.h"

static struct database *database;
static sqlite3 *handle;
static struct liveness *liveness, *gateway;
static struct cluster_reader *cluster;
static struct gauge_reader *reader;

enum { ALIVE = 4711, ALIVE_TOO = 4712, DEAD = 4713 };

static int open_reader(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	handle = database_handle(database);
	liveness = liveness_open(state_dir);
	gateway = liveness_open(state_dir);
	cluster = cluster_reader_new(database);
	reader = gauge_reader_new(database, liveness, NULL);
	return gateway && liveness_claim_pid(gateway, ALIVE) ? 0 : -1;
}

static int close_reader(void **state)
{
	gauge_reader_free(reader);
	gauge_reader_free(NULL);
	cluster_reader_free(cluster);
	cluster_reader_free(NULL);
	liveness_close(gateway);
	liveness_close(liveness);
	database_close(database);
	return remove_base(state);
}

#define GAUGES_TEST(test) cmocka_unit_test_setup_teardown(test, open_reader, close_reader)

static void add_gateway(int64_t pid, int64_t started_ms, int64_t cluster_nodes)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO gateways (pid, version, address, started_ms, seen_ms, last_event_id, "
		 "cluster_nodes) VALUES (%lld, '1', 'here', %lld, 0, 0, %lld)",
		 (long long)pid, (long long)started_ms, (long long)cluster_nodes);
	execute(handle, sql);
}

/* What a gateway says of itself. */
static void set_headcount(int64_t pid, int sockets, int topics, int clients)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "UPDATE gateways SET sockets = %d, active_topics = %d, clients = %d "
		 "WHERE pid = %lld",
		 sockets, topics, clients, (long long)pid);
	execute(handle, sql);
}

static void add_session(int64_t pid, const char *topic, int64_t user_id)
{
	static int slot;
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		 "expires_ms) VALUES (%lld, %d, '%s', %lld, '', 0, NULL)",
		 (long long)pid, slot++, topic, (long long)user_id);
	execute(handle, sql);
}

static struct gauges counts_now(void)
{
	struct gauges counts;

	memset(&counts, 0xFF, sizeof(counts));
	assert_int_equal(gauges_read(reader, &counts), DATABASE_OK);
	return counts;
}

static void assert_nobody(struct gauges counts)
{
	assert_false(counts.gateway_alive);
	assert_int_equal(counts.uptime_s, 0);
	assert_int_equal(counts.registered_topics, 0);
	assert_int_equal(counts.active_topics, 0);
	assert_int_equal(counts.connected_clients, 0);
	assert_int_equal(counts.connected_sockets, 0);
	assert_int_equal(counts.cluster_nodes, -1);
}

static void without_a_living_gateway_all_is_zero(void **state)
{
	(void)state;
	assert_nobody(counts_now());
	add_gateway(DEAD, 0, 3);
	add_session(DEAD, "a", 1);
	add_session(ALIVE, "a", 1); /* its row in `gateways` is not there yet */
	assert_nobody(counts_now());
	add_gateway(ALIVE, clock_wall_ms(), -1);
	assert_true(counts_now().gateway_alive);
	liveness_close(gateway);
	gateway = NULL;
	assert_nobody(counts_now());
}

static void a_user_counts_once_and_an_anonymous_socket_too(void **state)
{
	(void)state;
	add_gateway(ALIVE, 0, -1);
	assert_int_equal(counts_now().connected_sockets, 0);
	add_session(ALIVE, "a", 7);
	add_session(ALIVE, "a", 7);
	add_session(ALIVE, "b", 7);
	add_session(ALIVE, "b", -7);
	add_session(ALIVE, "b", 0);
	add_session(ALIVE, "c", 0);
	struct gauges counts = counts_now();
	assert_int_equal(counts.connected_sockets, 6);
	assert_int_equal(counts.connected_clients, 4);
	assert_int_equal(counts.active_topics, 3);
}

static void it_is_over_all_living_gateways(void **state)
{
	(void)state;
	struct liveness *second = liveness_open(state_dir);
	int64_t now_ms = clock_wall_ms();

	assert_true(liveness_claim_pid(second, ALIVE_TOO));
	add_gateway(ALIVE, now_ms - 100000, 2);
	add_gateway(ALIVE_TOO, now_ms - 200000, 3);
	add_gateway(DEAD, now_ms - 900000, 9);
	add_session(ALIVE, "a", 7);
	add_session(ALIVE_TOO, "a", 7);
	add_session(ALIVE_TOO, "b", 8);
	add_session(DEAD, "c", 9);
	struct gauges counts = counts_now();
	assert_int_equal(counts.connected_sockets, 3);
	assert_int_equal(counts.connected_clients, 2);
	assert_int_equal(counts.active_topics, 2);
	assert_in_range(counts.uptime_s, 200, 300);
	liveness_close(second);
	counts = counts_now();
	assert_int_equal(counts.connected_sockets, 1);
	assert_in_range(counts.uptime_s, 100, 199);
}

static void a_gateway_that_is_alone_has_counted_already(void **state)
{
	(void)state;
	add_gateway(ALIVE, 0, -1);
	add_gateway(DEAD, 0, -1);
	add_session(ALIVE, "a", 7); /* its rows are not looked at */
	set_headcount(ALIVE, 30, 10, 20);
	set_headcount(DEAD, 300, 100, 200);
	struct gauges counts = counts_now();
	assert_int_equal(counts.connected_sockets, 30);
	assert_int_equal(counts.active_topics, 10);
	assert_int_equal(counts.connected_clients, 20);
	set_headcount(ALIVE, 0, 0, 0);
	assert_int_equal(counts_now().connected_sockets, 0);
}

static void what_several_have_counted_is_not_added_up(void **state)
{
	(void)state;
	struct liveness *second = liveness_open(state_dir);

	assert_true(liveness_claim_pid(second, ALIVE_TOO));
	add_gateway(ALIVE, 0, -1);
	add_gateway(ALIVE_TOO, 0, -1);
	add_session(ALIVE, "a", 7);
	add_session(ALIVE_TOO, "a", 7);
	set_headcount(ALIVE, 1, 1, 1);
	set_headcount(ALIVE_TOO, 1, 1, 1);
	struct gauges counts = counts_now();
	assert_int_equal(counts.connected_sockets, 2);
	assert_int_equal(counts.active_topics, 1);
	assert_int_equal(counts.connected_clients, 1);
	liveness_close(second);
}

static void a_gateway_counts_its_own(void **state)
{
	(void)state;
	struct gauge_reader *own = gauge_reader_new(database, gateway, NULL);
	struct gauges counts;

	add_gateway(ALIVE, 0, -1);
	add_session(ALIVE, "a", 7);
	assert_int_equal(gauges_read(own, &counts), DATABASE_OK);
	assert_true(counts.gateway_alive);
	assert_int_equal(counts.connected_sockets, 1);
	gauge_reader_free(own);
}

static void topics_past_their_expiry_do_not_count(void **state)
{
	(void)state;
	char sql[160];

	add_gateway(ALIVE, 0, -1);
	assert_int_equal(counts_now().registered_topics, 1); /* worker.status */
	snprintf(sql, sizeof(sql),
		 "INSERT INTO topics VALUES ('a', 0, 0, 1), ('b', 0, 0, %lld), ('c', 0, 0, %lld)",
		 (long long)clock_wall_ms(), (long long)clock_wall_ms() + 100000);
	execute(handle, sql);
	assert_int_equal(counts_now().registered_topics, 2);
}

static void no_uptime_is_below_zero(void **state)
{
	(void)state;
	/* The clock has stepped back since it started. */
	add_gateway(ALIVE, clock_wall_ms() + 3600000, -1);
	assert_int_equal(counts_now().uptime_s, 0);
	assert_true(counts_now().gateway_alive);
}

static void a_number_that_is_no_pid_is_dead(void **state)
{
	(void)state;
	add_gateway(0, 0, -1);
	add_gateway(-1, 0, -1);
	add_gateway(INT64_MAX, 0, -1);
	assert_nobody(counts_now());
}

static void nodes_are_counted_in_a_cluster_while_a_gateway_lives(void **state)
{
	(void)state;
	struct gauge_reader *member = gauge_reader_new(database, liveness, cluster);
	struct cluster_standing now;
	struct gauges counts;

	assert_int_equal(cluster_reader_standing(cluster, &now), DATABASE_OK);
	assert_int_equal(strlen(now.node), STANDING_ID_SIZE - 1);
	assert_int_equal(now.since_ms, 0);
	assert_true(now.is_away);
	assert_string_equal(now.why, "not reached yet");
	execute(handle, "UPDATE cluster SET cluster_nodes = 3, since_ms = 1000");
	assert_int_equal(gauges_read(member, &counts), DATABASE_OK);
	assert_nobody(counts);
	add_gateway(ALIVE, 0, 9); /* what it says of itself is not looked at */
	assert_int_equal(gauges_read(member, &counts), DATABASE_OK);
	assert_int_equal(counts.cluster_nodes, 3);
	assert_int_equal(counts_now().cluster_nodes, -1); /* without a redis_url */
	execute(handle, "UPDATE cluster SET why = 'it hangs'");
	assert_int_equal(gauges_read(member, &counts), DATABASE_OK);
	assert_int_equal(counts.cluster_nodes, -1);
	assert_int_equal(cluster_reader_standing(cluster, &now), DATABASE_OK);
	assert_true(now.is_away);
	assert_string_equal(now.why, "it hangs");
	assert_int_equal(now.since_ms, 1000);
	execute(handle, "DROP TABLE cluster");
	assert_int_equal(gauges_read(member, &counts), DATABASE_ERROR);
	gauge_reader_free(member);
}

static void only_what_other_nodes_should_have_lags_behind(void **state)
{
	(void)state;
	static const struct {
		const char *change;
		int64_t events, lag_s, away_s;
	} rows[] = {
		/* The row that says that the database was made has id 1 here. */
		{"UPDATE events SET id = 1; INSERT INTO events (id, kind, created_ms, origin) "
		 "VALUES "
		 "(2, 0, 7000, NULL), (3, 1, 5000, NULL), (4, 2, 9000, NULL), "
		 "(5, 0, 1000, '0123456789abcdef'), (6, 5, 1000, '0123456789abcdef'), "
		 "(7, 4, 1000, NULL)",
		 0, 0, -1}, /* it has never been in a cluster */
		{"UPDATE cluster SET relayed_id = 1, since_ms = 0", 3, 5000, -1},
		{"UPDATE cluster SET relayed_id = 3, since_ms = 4000, why = 'x'", 1, 9000, 4000},
		{"UPDATE cluster SET why = NULL", 1, 9000, 0},
		{"UPDATE cluster SET relayed_id = 7", 0, 0, 0},
	};
	struct gauge_reader *member = gauge_reader_new(database, liveness, cluster);
	struct gauges all;

	add_gateway(ALIVE, 0, -1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t now_s;

		execute(handle, rows[i].change);
		assert_int_equal(gauges_read_all(member, &all), DATABASE_OK);
		now_s = clock_wall_ms() / 1000;
		assert_int_equal(all.lag_events, rows[i].events);
		assert_true(rows[i].lag_s == 0
				    ? all.lag_s == 0
				    : llabs(now_s - rows[i].lag_s / 1000 - all.lag_s) < 60);
		assert_true(rows[i].away_s <= 0
				    ? all.away_s == rows[i].away_s
				    : llabs(now_s - rows[i].away_s / 1000 - all.away_s) < 60);
	}
	execute(handle, "UPDATE cluster SET why = 'x', since_ms = 9000000000000, relayed_id = 3;"
			"UPDATE events SET created_ms = 9000000000000"); /* clocks step back */
	assert_int_equal(gauges_read_all(member, &all), DATABASE_OK);
	assert_int_equal(all.lag_s, 0);
	assert_int_equal(all.away_s, 0);
	assert_int_equal(gauges_read_all(reader, &all), DATABASE_OK);
	assert_int_equal(all.lag_events, -1);
	gauge_reader_free(member);
}

static void a_writer_does_not_stop_it(void **state)
{
	(void)state;
	sqlite3 *person = open_by_hand();

	add_gateway(ALIVE, 0, -1);
	execute(person, "BEGIN IMMEDIATE; DELETE FROM gateways");
	assert_true(counts_now().gateway_alive);
	execute(person, "COMMIT");
	assert_false(counts_now().gateway_alive);
	sqlite3_close(person);
}

static void a_database_that_cannot_be_read_has_no_numbers(void **state)
{
	(void)state;
	struct gauges counts;

	add_gateway(ALIVE, 0, -1);
	add_session(ALIVE, "a", 1);
	execute(handle, "DROP TABLE sessions");
	assert_int_equal(gauges_read(reader, &counts), DATABASE_ERROR);
	assert_nobody(counts);
}

static void the_same_one_counts_once_however_many_there_are(void **state)
{
	(void)state;
	enum { SESSIONS = 10000, TOPICS = 6000, USERS = 8000 };
	char sql[400];

	add_gateway(ALIVE, 0, -1);
	snprintf(sql, sizeof(sql),
		 "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		 "INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		 "expires_ms) SELECT %d, 1000 + i, 't' || (i %% %d), i %% %d + 1, '', 0, "
		 "NULL "
		 "FROM n",
		 SESSIONS - 1, ALIVE, TOPICS, USERS);
	execute(handle, sql);
	for (int round = 0; round < 2; round++) {
		struct gauges gauges = counts_now();

		assert_int_equal(gauges.connected_sockets, SESSIONS);
		assert_int_equal(gauges.active_topics, TOPICS);
		assert_int_equal(gauges.connected_clients, USERS);
	}
	add_session(ALIVE, "one more", INT64_MIN);
	add_session(ALIVE, "", INT64_MIN);
	execute(handle, "UPDATE sessions SET topic = CAST(x'6100' AS TEXT) WHERE topic = 't0'");
	add_session(ALIVE, "a", 1);
	assert_int_equal(counts_now().active_topics, TOPICS + 3);
	assert_int_equal(counts_now().connected_clients, USERS + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GAUGES_TEST(without_a_living_gateway_all_is_zero),
		GAUGES_TEST(a_user_counts_once_and_an_anonymous_socket_too),
		GAUGES_TEST(it_is_over_all_living_gateways),
		GAUGES_TEST(a_gateway_that_is_alone_has_counted_already),
		GAUGES_TEST(what_several_have_counted_is_not_added_up),
		GAUGES_TEST(a_gateway_counts_its_own),
		GAUGES_TEST(the_same_one_counts_once_however_many_there_are),
		GAUGES_TEST(topics_past_their_expiry_do_not_count),
		GAUGES_TEST(no_uptime_is_below_zero),
		GAUGES_TEST(a_number_that_is_no_pid_is_dead),
		GAUGES_TEST(nodes_are_counted_in_a_cluster_while_a_gateway_lives),
		GAUGES_TEST(only_what_other_nodes_should_have_lags_behind),
		GAUGES_TEST(a_writer_does_not_stop_it),
		GAUGES_TEST(a_database_that_cannot_be_read_has_no_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
