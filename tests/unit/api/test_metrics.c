// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * GET /internal/metrics: what is counted, when it is shown, and the lines themselves. The format as
 * a whole is checked by tests/e2e/test_metrics.py.
 */
#include "tests/unit/api/service_fixture.h"

static const char *metrics(int status)
{
	struct request request = request_to("metrics", "");

	request.method = "GET";
	return answer(&request, status);
}

/* True when the metrics have that line. */
static bool shows(const char *line)
{
	static char wanted[300];

	snprintf(wanted, sizeof(wanted), "\nwavelog_worker_%s\n", line);
	return strstr(metrics(200), wanted) != NULL;
}

static int forget(void **state)
{
	(void)state;
	service_tick(service);
	execute("DELETE FROM counters");
	return 0;
}

static void it_is_text_for_prometheus(void **state)
{
	(void)state;
	const char *body = metrics(200);

	assert_memory_equal(body, "# HELP wavelog_worker_publishes_total ", 38);
	assert_int_equal(body[strlen(body) - 1], '\n');
	assert_non_null(strstr(response.bytes,
			       "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

static void it_is_checked_as_status_is(void **state)
{
	(void)state;
	struct request request = request_to("metrics", "");

	request.method = "POST";
	request.secret = "wrong";
	answer(&request, 405);
	assert_non_null(strstr(response.bytes, "\r\nAllow: GET\r\n"));
	request.method = "GET";
	assert_string_equal(answer(&request, 403), "forbidden\n");
	request.secret = SECRET;
	request.body = "not looked at";
	request.body_len = strlen(request.body);
	answer(&request, 200);
}

static void what_was_done_is_counted_when_it_is_in_the_database(void **state)
{
	(void)state;
	post("register", "{\"topic\":\"a\"}", 200);
	post("register", "{\"topic\":\"worker.status\"}", 200);
	for (int i = 0; i < 3; i++)
		post("publish", "{\"topic\":\"a\",\"payload\":1}", 200);
	post("unregister", "{\"topic\":\"b\"}", 200);
	post("disconnect", "{\"topic\":\"b\"}", 200);
	assert_true(shows("publishes_total 0"));
	service_tick(service);
	assert_true(shows("publishes_total 3"));
	assert_true(shows("commit_seconds_count 3"));
	assert_true(shows("commit_seconds_bucket{le=\"+Inf\"} 3"));
	assert_true(shows("registers_total 2"));
	assert_true(shows("unregisters_total 1"));
	assert_true(shows("disconnects_total 1"));
}

static void a_refusal_is_counted_by_its_status(void **state)
{
	(void)state;
	struct request wrong = request_to("publish", "{}");

	wrong.secret = "wrong";
	answer(&wrong, 403);
	wrong.method = "GET";
	answer(&wrong, 405);
	wrong.script_name = "/nothing";
	answer(&wrong, 404);
	post("publish", "{\"topic\":\"nobody\",\"payload\":1}", 404);
	post("publish", "{", 400);
	service_tick(service);
	assert_true(shows("refusals_total{status=\"400\"} 1"));
	assert_true(shows("refusals_total{status=\"403\"} 1"));
	assert_true(shows("refusals_total{status=\"404\"} 2"));
	assert_true(shows("refusals_total{status=\"405\"} 1"));
	assert_true(shows("publishes_total 0"));
	assert_true(shows("commit_seconds_count 0"));
}

static void a_degraded_status_is_an_answer_and_no_refusal(void **state)
{
	(void)state;
	struct request status = request_to("status", "");

	answer(&status, 503);
	service_tick(service);
	assert_true(shows("refusals_total{status=\"503\"} 0"));
}

static void what_others_counted_is_shown_too(void **state)
{
	(void)state;
	execute("INSERT INTO counters VALUES ('publishes', '', 40), ('drops', 'outbox_full', 2), "
		"('delivery_us', '8', 1), ('delivery_us', '1024', 5), ('delivery_us', 'more', 2), "
		"('delivery_us_sum', '', 40000123)");
	assert_true(shows("publishes_total 40"));
	assert_true(shows("drops_total{cause=\"outbox_full\"} 2"));
	assert_true(shows("delivery_seconds_bucket{le=\"0.000008\"} 1"));
	assert_true(shows("delivery_seconds_bucket{le=\"0.000512\"} 1"));
	assert_true(shows("delivery_seconds_bucket{le=\"0.001024\"} 6"));
	assert_true(shows("delivery_seconds_bucket{le=\"16.777216\"} 6"));
	assert_true(shows("delivery_seconds_bucket{le=\"+Inf\"} 8"));
	assert_true(shows("delivery_seconds_sum 40.000123"));
	assert_true(shows("delivery_seconds_count 8"));
}

static void looking_is_not_counted_and_writes_nothing(void **state)
{
	(void)state;
	sqlite3 *handle = database_handle(service->database);
	int changes = sqlite3_total_changes(handle);

	for (int i = 0; i < 5; i++) {
		metrics(200);
		service_tick(service);
	}
	assert_int_equal(sqlite3_total_changes(handle), changes);
}

static void gauges_are_of_living_gateways(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);

	assert_true(shows("gateways 0"));
	assert_null(strstr(metrics(200), "\nwavelog_worker_delivered_event_id "));
	execute("INSERT INTO gateways (" GATEWAY_COLUMNS
		") VALUES (4241, '', '', 0, 0, 77, -1, 1000), "
		"(4242, '', '', 0, 0, 99, -1, 20), (4243, '', '', 0, 0, 1, -1, 50000)");
	assert_true(liveness_claim_pid(liveness, 4241));
	struct liveness *second = liveness_open(directory);
	assert_true(liveness_claim_pid(second, 4242));
	assert_true(shows("gateways 2"));
	assert_true(shows("api_processes 1"));
	assert_true(shows("outbox_bytes 1020"));
	assert_true(shows("delivered_event_id 77"));
	execute("DELETE FROM gateways");
	liveness_close(liveness);
	liveness_close(second);
}

static void events_are_counted_by_the_ends_of_their_run(void **state)
{
	(void)state;
	execute("DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	assert_true(shows("event_rows 1"));
	post("publish", "{\"topic\":\"a\",\"payload\":1}", 200);
	post("publish", "{\"topic\":\"a\",\"payload\":1}", 200);
	assert_true(shows("event_rows 3"));
}

static void a_database_that_cannot_be_read_is_unavailable(void **state)
{
	(void)state;
	sqlite3 *handle = database_handle(service->database);

	execute("ALTER TABLE counters RENAME TO away");
	metrics(503);
	assert_true(sqlite3_get_autocommit(handle));
	execute("ALTER TABLE away RENAME TO counters");
	metrics(200);
}

#define METRICS_TEST(test) cmocka_unit_test_setup(test, forget)

static void a_single_node_shows_no_gauge_of_a_cluster(void **state)
{
	(void)state;
	assert_true(shows("cluster_relayed_total 0"));
	assert_null(strstr(metrics(200), "cluster_lag"));
	assert_null(strstr(metrics(200), "cluster_nodes"));
}

/* The last test: the service is opened anew. */
static void a_cluster_has_gauges_of_its_own(void **state)
{
	(void)state;
	struct liveness *liveness;
	char line[80];

	close_service(state);
	config.redis_url = (char[]){"redis://localhost"};
	assert_int_equal(open_service(state), 0);
	liveness = liveness_open(directory);
	assert_true(shows("cluster_lag_events 0"));
	assert_non_null(strstr(metrics(200), "# TYPE wavelog_worker_cluster_away_seconds gauge"));
	assert_null(
		strstr(metrics(200), "\nwavelog_worker_cluster_away_seconds ")); /* who knows? */
	assert_true(liveness_claim_pid(liveness, 4241));
	execute("INSERT INTO gateways (" GATEWAY_COLUMNS
		") VALUES (4241, '', '', 0, 0, 77, -1, 1000);"
		"UPDATE cluster SET cluster_nodes = 3, since_ms = 1000;"
		"INSERT INTO counters VALUES ('cluster_refused', 'not_json', 2)");
	assert_true(shows("cluster_nodes 3"));
	assert_true(shows("cluster_away_seconds 0"));
	assert_true(shows("cluster_refused_total{cause=\"not_json\"} 2"));
	snprintf(line, sizeof(line), "UPDATE cluster SET why = 'x', since_ms = %lld",
		 (long long)clock_wall_ms() - 100500);
	execute(line);
	assert_true(shows("cluster_away_seconds 100"));
	assert_null(strstr(metrics(200), "\nwavelog_worker_cluster_nodes "));
	liveness_close(liveness);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		METRICS_TEST(it_is_text_for_prometheus),
		METRICS_TEST(it_is_checked_as_status_is),
		METRICS_TEST(what_was_done_is_counted_when_it_is_in_the_database),
		METRICS_TEST(a_refusal_is_counted_by_its_status),
		METRICS_TEST(a_degraded_status_is_an_answer_and_no_refusal),
		METRICS_TEST(what_others_counted_is_shown_too),
		METRICS_TEST(looking_is_not_counted_and_writes_nothing),
		METRICS_TEST(gauges_are_of_living_gateways),
		METRICS_TEST(events_are_counted_by_the_ends_of_their_run),
		METRICS_TEST(a_database_that_cannot_be_read_is_unavailable),
		METRICS_TEST(a_single_node_shows_no_gauge_of_a_cluster),
		METRICS_TEST(a_cluster_has_gauges_of_its_own),
	};

	return cmocka_run_group_tests(tests, open_service, close_service);
}
