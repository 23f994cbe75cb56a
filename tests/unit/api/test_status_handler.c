// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * GET /internal/status: the object's bytes, with and without a gateway, and its lists.
 */
#include "tests/unit/api/service_fixture.h"

#include <limits.h>

static const char *status_with(const char *query, int status)
{
	struct request request = request_to("status", "");

	request.query = query;
	return answer(&request, status);
}

static void without_a_gateway_the_status_is_degraded(void **state)
{
	(void)state;

	assert_string_equal(status_with("", 503),
			    "{\"status\":\"degraded\",\"version\":\"0.1.0\",\"uptime\":\"0s\","
			    "\"registered_topics\":0,\"active_topics\":0,\"connected_clients\":0,"
			    "\"connected_sockets\":0,\"topic_list\":[],\"cluster_nodes\":-1,"
			    "\"dropped_pushes\":0,"
			    "\"reason\":\"no gateway is running, and gateway_autostart "
			    "is off\"}");
	assert_non_null(strstr(response.bytes, "\r\nRetry-After: 1\r\n"));
	assert_non_null(strstr(response.bytes, "application/json\r\n"));
}

static void with_a_gateway_the_status_counts_and_lists(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);
	char sql[256];

	execute("DELETE FROM topics WHERE topic <> 'worker.status'");
	post("register", "{\"topic\":\"a \\\"b\\\"\"}", 200);
	assert_true(liveness_claim_pid(liveness, 4242));
	snprintf(sql, sizeof(sql),
		 "INSERT INTO gateways (" GATEWAY_COLUMNS
		 ") VALUES (4242, '0.1.0', 'test', %lld, 0, 0, -1, 0)",
		 (long long)clock_wall_ms() - 61500);
	execute(sql);
	execute("INSERT INTO counters VALUES ('drops', 'pruned', 5), ('drops', 'outbox_full', 7)");
	execute("INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		"expires_ms) VALUES (4242, 1, 'a \"b\"', 7, '', 0, NULL),"
		"(4242, 2, 'a \"b\"', 7, '', 0, NULL), (4242, 3, 'a \"b\"', 0, '', 0, NULL)");

	assert_string_equal(
		status_with("topics=2", 200),
		"{\"status\":\"ok\",\"version\":\"0.1.0\",\"uptime\":\"1m1s\","
		"\"registered_topics\":2,\"active_topics\":1,\"connected_clients\":2,"
		"\"connected_sockets\":3,\"topic_list\":[\"a \\\"b\\\"\",\"worker.status\"],"
		"\"cluster_nodes\":-1,\"dropped_pushes\":12}");
	assert_null(strstr(status_with("topics=0", 200), "_list"));
	assert_non_null(strstr(status_with("x=1&topics=1", 200),
			       "\"cluster_nodes\":-1,\"dropped_pushes\":12,\"active_topic_list\":["
			       "\"a \\\"b\\\"\"]}"));
	execute("DELETE FROM sessions");
	execute("DELETE FROM gateways");
	execute("DELETE FROM counters WHERE name = 'drops'");
	liveness_close(liveness);
}

static void topic_list_stops_at_a_thousand_unless_asked(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);
	const char *last = "\"t01002\"";

	execute("DELETE FROM topics WHERE topic <> 'worker.status'");
	execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1002) "
		"INSERT INTO topics SELECT printf('t%05d', i), 0, 0, 9000000000000 FROM n");
	assert_true(liveness_claim_pid(liveness, 4243));
	execute("INSERT INTO gateways (" GATEWAY_COLUMNS
		") VALUES (4243, '0.1.0', 'test', 0, 0, 0, -1, 0)");
	assert_non_null(strstr(status_with("", 200), "\"t01000\"]"));
	assert_null(strstr(status_with("", 200), last));
	assert_non_null(strstr(status_with("topics=1", 200), last));
	execute("DELETE FROM gateways");
	execute("DELETE FROM topics WHERE topic <> 'worker.status'");
	liveness_close(liveness);
}

static void claim_a_gateway(struct liveness *liveness)
{
	assert_true(liveness_claim_pid(liveness, 4244));
	execute("INSERT INTO gateways (" GATEWAY_COLUMNS
		", sockets, active_topics, clients) VALUES (4244, '0.1.0', 'test', 0, 0, 0, -1, 0, "
		"5, 3, 4)");
}

/* The members from that one on. */
static const char *status_from(const char *member, const char *query, int status)
{
	const char *found = strstr(status_with(query, status), member);

	return found ? found : "";
}

static void in_a_cluster_the_status_says_how_it_stands(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);
	char name[HOST_NAME_MAX + 1], expected[1024];

	gethostname(name, sizeof(name));
	assert_null(strstr(status_with("cluster=1", 503), "\"cluster\""));
	close_service(state);
	config.redis_url = (char[]){"redis://localhost"};
	assert_int_equal(open_service(state), 0);
	liveness_close(liveness);
	liveness = liveness_open(directory);
	execute("UPDATE cluster SET node = '00000000000000aa', relayed_id = 0");
	snprintf(expected, sizeof(expected),
		 "\"is off\",\"cluster_lag_events\":0,\"cluster_lag_seconds\":0,"
		 "\"node\":{\"id\":\"00000000000000aa\",\"name\":\"%s\"}}",
		 name);
	assert_string_equal(status_from("is off\"", "topics=0", 503), expected + 1);
	assert_non_null(strstr(response.bytes, "\"cluster_nodes\":-1"));

	claim_a_gateway(liveness);
	assert_non_null(strstr(status_with("topics=0", 200),
			       "\"cluster_nodes\":-1,\"dropped_pushes\":0,"
			       "\"cluster_why\":\"not reached yet\""));
	execute("UPDATE cluster SET cluster_nodes = 2, since_ms = 1000, why = 'it hangs'");
	assert_non_null(strstr(status_with("topics=0", 200),
			       "\"cluster_nodes\":-1,\"dropped_pushes\":0,"
			       "\"cluster_since\":\"1970-01-01T00:00:01Z\","
			       "\"cluster_why\":\"it hangs\",\"cluster_lag_events\":0"));
	execute("UPDATE cluster SET why = NULL; INSERT INTO events (kind, topic, created_ms) "
		"VALUES (0, 'a', 9000000000000);"
		"INSERT INTO nodes (node, name, version, is_alive, sockets, clients, topics) "
		"VALUES "
		"('00000000000000cc', 'other', '0.3.0', 1, 20, 10, 2), "
		"('00000000000000bb', 'gone', '0.1.0', 0, 7, 7, 7)");
	snprintf(expected, sizeof(expected),
		 "\"cluster_since\":\"1970-01-01T00:00:01Z\",\"cluster_lag_events\":1,"
		 "\"cluster_lag_seconds\":0,"
		 "\"node\":{\"id\":\"00000000000000aa\",\"name\":\"%s\"},\"cluster\":{\"nodes\":["
		 "{\"id\":\"00000000000000aa\",\"name\":\"%s\",\"version\":\"0.1.0\","
		 "\"alive\":true,\"sockets\":5,\"clients\":4,\"topics\":3},"
		 "{\"id\":\"00000000000000bb\",\"name\":\"gone\",\"version\":\"0.1.0\","
		 "\"alive\":false,\"sockets\":7,\"clients\":7,\"topics\":7},"
		 "{\"id\":\"00000000000000cc\",\"name\":\"other\",\"version\":\"0.3.0\","
		 "\"alive\":true,\"sockets\":20,\"clients\":10,\"topics\":2}],"
		 "\"alive\":2,\"sockets\":25,\"clients\":14,\"topics\":5}}",
		 name, name);
	assert_string_equal(status_from("\"cluster_since\"", "topics=0&cluster=1", 200), expected);
	assert_non_null(strstr(response.bytes, "\"cluster_nodes\":2,"));
	config.node_name = (char[]){"west"};
	assert_non_null(strstr(status_with("", 200), "aa\",\"name\":\"west\"}}"));
	assert_null(strstr(status_with("cluster=1&cluster=0", 200), "\"cluster\""));
	assert_non_null(strstr(status_from("\"active_topic_list\"", "cluster=1&topics=1", 200),
			       "],\"cluster_since\""));
	liveness_close(liveness);
}

/* After the one above: in a cluster. */
static void readiness_says_whether_redis_is_away(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);
	struct request request = request_to("", "");

	request.script_name = "/worker/readyz";
	request.method = "GET";
	request.secret = "";
	assert_string_equal(answer(&request, 503), "unavailable: no gateway is running\n");
	assert_true(liveness_claim_pid(liveness, 4244));
	assert_string_equal(answer(&request, 200), "ok\n");
	execute("UPDATE cluster SET why = 'it hangs'");
	assert_string_equal(answer(&request, 503), "unavailable: Redis away: it hangs\n");
	execute("UPDATE cluster SET why = NULL, since_ms = NULL");
	assert_string_equal(answer(&request, 503), "unavailable: Redis away: not reached yet\n");
	execute("ALTER TABLE cluster RENAME TO lost");
	assert_string_equal(answer(&request, 503), "unavailable: database error\n");
	liveness_close(liveness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_gateway_the_status_is_degraded),
		cmocka_unit_test(with_a_gateway_the_status_counts_and_lists),
		cmocka_unit_test(topic_list_stops_at_a_thousand_unless_asked),
		cmocka_unit_test(in_a_cluster_the_status_says_how_it_stands),
		cmocka_unit_test(readiness_says_whether_redis_is_away),
	};

	return cmocka_run_group_tests(tests, open_service, close_service);
}
