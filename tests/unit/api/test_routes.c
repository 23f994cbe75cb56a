// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * Requests and their answers: where the verb may be in a path, and each row of the contract's
 * table of checks, against a real database in a directory of its own.
 */
#include "tests/unit/api/service_fixture.h"
#include "shared/database/write_lock.h"

static void a_verb_is_found_however_the_program_is_mounted(void **state)
{
	(void)state;
	static const struct {
		const char *script_name, *path_info, *uri;
		const char *verb; /* NULL: not found */
	} cases[] = {
		{"/internal/publish", "", "", "publish"}, /* nginx fastcgi_params */
		{"/internal/push", "", "", "push"},
		{"/internal", "/register", "", "register"}, /* ScriptAlias /internal */
		{"/api.fcgi", "/internal/unregister", "", "unregister"},
		{"/cgi-bin/api.fcgi", "/any/prefix/internal/status", "", "status"},
		{"", "/internal/status", "", "status"},
		{"/api.fcgi", "", "/worker/internal/status?topics=1", "status"},
		{"/api.fcgi", "", "http://host/internal/status#x", "status"},
		{"/internal/register", "/x", "/internal/publish", "publish"},
		{"/internal/publish", "", "/internal/register", "publish"},
		{"", "", "/x?y=/internal/publish", NULL},
		{"", "", "", NULL},
		{"/internal/", "", "", NULL},
		{"/internal/nothing", "", "", NULL},
		{"/internal/publish/", "", "", NULL},
		{"/internal/publishx", "", "", NULL},
		{"/internal/Publish", "", "", NULL},
		{"/xinternal/publish", "", "", NULL},
		{"internal/publish", "", "", NULL},
		{"/publish", "", "", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request request = {.script_name = cases[i].script_name,
					  .path_info = cases[i].path_info,
					  .uri = cases[i].uri};
		const struct route *route = routes_find(&request);

		if (!cases[i].verb) {
			assert_null(route);
			continue;
		}
		assert_non_null(route);
		assert_string_equal(route->path + strlen("/internal/"), cases[i].verb);
	}
}

static void a_path_too_long_to_join_is_found_by_its_end(void **state)
{
	(void)state;
	static char long_name[5000];
	struct request request = {
		.script_name = long_name, .path_info = "/internal/status", .uri = ""};

	memset(long_name, 'x', sizeof(long_name) - 1);
	assert_string_equal(routes_find(&request)->path, "/internal/status");
}

static void the_first_check_that_fails_answers(void **state)
{
	(void)state;
	struct request request = request_to("nothing", "not json");

	request.method = "PUT";
	request.secret = "wrong";
	request.body_state = REQUEST_BODY_TOO_LARGE;
	assert_string_equal(answer(&request, 404), "not found\n");
	request.script_name = "/internal/publish";
	assert_string_equal(answer(&request, 405), "method not allowed\n");
	request.method = "POST";
	assert_string_equal(answer(&request, 403), "forbidden\n");
	request.secret = SECRET;
	assert_string_equal(answer(&request, 413), "body too large\n");
	request.body_state = REQUEST_BODY_CUT_SHORT;
	assert_string_equal(answer(&request, 400), "bad request: body is shorter than announced\n");
	request.body_state = REQUEST_BODY_WHOLE;
	assert_memory_equal(answer(&request, 400), "bad request: ", 13);
	assert_string_equal(post("publish", "{}", 400), "missing topic\n");
	assert_string_equal(post("publish", "{\"topic\":5}", 400), "bad topic: not a string\n");
	assert_string_equal(post("publish", "{\"topic\":\"nobody\"}", 400), "missing payload\n");
	assert_string_equal(post("publish", "{\"topic\":\"nobody\",\"payload\":1}", 404),
			    "topic not registered\n");
}

static void a_method_is_allowed_exactly(void **state)
{
	(void)state;
	static const char *const methods[] = {"HEAD", "OPTIONS", "DELETE", "get", ""};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		struct request request = request_to("status", "");

		request.method = methods[i];
		answer(&request, 405);
		assert_non_null(strstr(response.bytes, "\r\nAllow: GET\r\n"));
		request.script_name = "/internal/push";
		answer(&request, 405);
		assert_non_null(strstr(response.bytes, "\r\nAllow: POST\r\n"));
	}
}

static void status_too_needs_the_secret(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "x", SECRET "0", "0123456789abcdef"};
	struct request request = request_to("status", "");

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		request.secret = wrong[i];
		assert_string_equal(answer(&request, 403), "forbidden\n");
	}
}

static void the_secret_may_come_as_a_bearer_token(void **state)
{
	(void)state;
	static const char *const good[] = {"Bearer " SECRET, "bearer " SECRET,
					   "BEARER " PREVIOUS_SECRET};
	static const char *const bad[] = {"Bearer",	     "Bearer ",	      "Bearer " SECRET "0",
					  "Bearer  " SECRET, "Bearer" SECRET, "Basic " SECRET,
					  "Bearer wrong",    SECRET,	      ""};
	struct request request = request_to("register", "{\"topic\":\"a\"}");

	request.authorization = "Bearer wrong";
	answer(&request, 200);
	request.secret = "wrong";
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		request.authorization = good[i];
		answer(&request, 200);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request.authorization = bad[i];
		answer(&request, 403);
	}
}

static void readyz_is_for_everybody(void **state)
{
	(void)state;
	struct liveness *liveness = liveness_open(directory);
	struct request request = request_to("status", "");

	request.script_name = "/any/prefix/readyz";
	request.secret = "";
	assert_string_equal(answer(&request, 503), "unavailable: no gateway is running\n");
	assert_false(response.is_error);
	execute("INSERT INTO gateways (" GATEWAY_COLUMNS
		") VALUES (4244, '0.1.0', 'test', 0, 0, 0, -1, 0)");
	assert_true(liveness_claim_pid(liveness, 4244));
	assert_string_equal(answer(&request, 200), "ok\n");
	request.method = "HEAD";
	assert_string_equal(answer(&request, 200), "");
	assert_non_null(strstr(response.bytes, "\r\nContent-Length: 3\r\n"));
	request.method = "POST";
	answer(&request, 405);
	assert_non_null(strstr(response.bytes, "\r\nAllow: GET, HEAD\r\n"));
	execute("DELETE FROM gateways");
	liveness_close(liveness);
}

static void a_topic_lives_from_register_to_unregister(void **state)
{
	(void)state;
	char first[64], second[64];

	assert_string_equal(post("register", "{\"topic\":\"a\"}", 200), "");
	assert_string_equal(post("register", "{\"topic\":\"a\"}", 200), "");
	assert_false(service->tap_due);
	snprintf(first, sizeof(first), "%s",
		 post("publish", "{\"topic\":\"a\",\"payload\":1}", 200));
	assert_true(service->tap_due);
	snprintf(second, sizeof(second), "%s",
		 post("push", "{\"topic\":\"a\",\"payload\":null}", 200));
	assert_memory_equal(first, "{\"id\":", 6);
	assert_true(strtoll(second + 6, NULL, 10) > strtoll(first + 6, NULL, 10));
	service_tap(service);
	assert_false(service->tap_due);
	assert_string_equal(post("unregister", "{\"topic\":\"a\"}", 200), "");
	assert_true(service->tap_due);
	assert_string_equal(post("unregister", "{\"topic\":\"a\"}", 200), "");
	post("publish", "{\"topic\":\"a\",\"payload\":1}", 404);
	service_tap(service);
}

static void a_topic_past_its_expiry_is_not_registered(void **state)
{
	(void)state;
	post("register", "{\"topic\":\"old\"}", 200);
	execute("UPDATE topics SET expires_ms = 1 WHERE topic = 'old'");
	post("publish", "{\"topic\":\"old\",\"payload\":1}", 404);
	post("register", "{\"topic\":\"old\"}", 200);
	post("publish", "{\"topic\":\"old\",\"payload\":1}", 200);
}

static void worker_status_cannot_be_changed(void **state)
{
	(void)state;
	assert_string_equal(
		post("register", "{\"topic\":\"worker.status\",\"require_token\":false}", 200), "");
	assert_string_equal(post("unregister", "{\"topic\":\"worker.status\"}", 400),
			    "bad topic: worker.status is reserved\n");
	post("publish", "{\"topic\":\"worker.status\",\"payload\":1}", 200);
	assert_int_equal(query_number("SELECT count(*) FROM topics WHERE topic = 'worker.status' "
				      "AND require_token = 1 AND expires_ms = 9223372036854775807"),
			 1);
}

static void a_locked_database_is_unavailable_and_an_unknown_topic_still_unknown(void **state)
{
	(void)state;
	char path[256];

	post("register", "{\"topic\":\"a\"}", 200);
	snprintf(path, sizeof(path), "%s/write.lock", directory);
	int other = write_lock_open(path);
	assert_true(write_lock_take(other, clock_monotonic_ms() + 1000));
	assert_string_equal(post("publish", "{\"topic\":\"a\",\"payload\":1}", 503),
			    "unavailable: database is locked\n");
	assert_non_null(strstr(response.bytes, "\r\nRetry-After: 1\r\n"));
	post("register", "{\"topic\":\"b\"}", 503);
	post("unregister", "{\"topic\":\"a\"}", 503);
	assert_true(service->trouble[SERVICE_WRITE].is_on);
	post("publish", "{\"topic\":\"nobody\",\"payload\":1}", 404);
	struct request status = request_to("status", "");
	answer(&status, 503); /* for want of a gateway */
	assert_false(service->trouble[SERVICE_READ].is_on);
	close(other);
	post("publish", "{\"topic\":\"a\",\"payload\":1}", 200);
	assert_false(service->trouble[SERVICE_WRITE].is_on);
}

/* Whoever holds sync.lock is syncing the disk, and takes too long. */
static void what_is_committed_but_not_synced_says_so_and_is_not_to_be_tried_again(void **state)
{
	(void)state;
	char path[256];
	enum config_durability before = config.durability;

	close_service(NULL);
	config.durability = CONFIG_DURABILITY_FULL;
	assert_int_equal(open_service(NULL), 0);
	post("register", "{\"topic\":\"t\"}", 200);
	snprintf(path, sizeof(path), "%s/sync.lock", directory);
	int lock = write_lock_open(path);
	assert_true(write_lock_try(lock));
	assert_string_equal(post("publish", "{\"topic\":\"t\",\"payload\":1}", 503),
			    "unavailable: committed, but the disk has not confirmed it\n");
	assert_null(memmem(response.bytes, response.len, "Retry-After", strlen("Retry-After")));
	assert_true(service->tap_due);
	assert_string_equal(post("publish", "{\"topic\":\"u\",\"payload\":1}", 404),
			    "topic not registered\n");
	write_lock_release(lock);
	post("publish", "{\"topic\":\"t\",\"payload\":2}", 200);
	assert_int_equal(query_number("SELECT count(*) FROM events WHERE topic = 't'"), 2);
	close(lock);
	config.durability = before;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verb_is_found_however_the_program_is_mounted),
		cmocka_unit_test(a_path_too_long_to_join_is_found_by_its_end),
		cmocka_unit_test(the_first_check_that_fails_answers),
		cmocka_unit_test(a_method_is_allowed_exactly),
		cmocka_unit_test(status_too_needs_the_secret),
		cmocka_unit_test(the_secret_may_come_as_a_bearer_token),
		cmocka_unit_test(readyz_is_for_everybody),
		cmocka_unit_test(a_topic_lives_from_register_to_unregister),
		cmocka_unit_test(a_topic_past_its_expiry_is_not_registered),
		cmocka_unit_test(worker_status_cannot_be_changed),
		cmocka_unit_test(
			a_locked_database_is_unavailable_and_an_unknown_topic_still_unknown),
		cmocka_unit_test(
			what_is_committed_but_not_synced_says_so_and_is_not_to_be_tried_again),
	};

	return cmocka_run_group_tests(tests, open_service, close_service);
}
