// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * GET /internal/status: the object's bytes, with and without a gateway, and its lists.
 */
#include "tests/unit/api/service_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_gateway_the_status_is_degraded),
		cmocka_unit_test(with_a_gateway_the_status_counts_and_lists),
		cmocka_unit_test(topic_list_stops_at_a_thousand_unless_asked),
	};

	return cmocka_run_group_tests(tests, open_service, close_service);
}
