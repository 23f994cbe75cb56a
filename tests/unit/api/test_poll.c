// needs: api/routes.c api/poll_handler.c api/status_handler.c api/autostart.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c
/*
 * POST /poll by the contract (docs/clients.md), against a real database: each answer byte for byte,
 * each limit from both sides, each refusal, and that nothing is written.
 */
#include "tests/unit/api/service_fixture.h"
#include "tests/unit/shared/contract/token_fixture.h"

#include <inttypes.h>

#define FOREVER "9007199254740993"
#define AUTH "{\"type\":\"auth\"}"

static char *last; /* the whole answer, header and body; freed with the next */
static size_t last_len;

/* Polls; the answer must have that status. Returns its body. */
static const char *ask(const struct request *request, int status)
{
	static const char empty[] = "";
	int64_t changes = sqlite3_total_changes64(database_handle(service->database));

	routes_answer(service, request, &response);
	free(last);
	last_len = response.len;
	last = xstrndup(response.bytes, response.len);
	if (response.status != status)
		print_error("%.400s\n", last);
	assert_int_equal(response.status, status);
	assert_int_equal(sqlite3_total_changes64(database_handle(service->database)), changes);
	assert_false(totals_are_due(service->totals, &service->counters));
	const char *body = strstr(last, "\r\n\r\n");
	return body ? body + 4 : empty;
}

static struct request poll_of(const char *query, const char *body)
{
	struct request request = request_to("poll", body);

	request.script_name = "/any/prefix/poll";
	request.secret = "";
	request.query = query;
	return request;
}

static const char *poll_as(const char *query, const char *body, int status)
{
	struct request request = poll_of(query, body);

	return ask(&request, status);
}

static const char *poll_from(int64_t position, int status)
{
	char body[64];

	snprintf(body, sizeof(body), "{\"type\":\"auth\",\"last_event_id\":%" PRId64 "}", position);
	return poll_as("topic=t", body, status);
}

/* What the last answer says of a member. */
static struct json_value member(const char *name)
{
	struct json_member members[] = {{.name = name}};
	const char *body = strstr(last, "\r\n\r\n") + 4;
	size_t error_at;

	assert_null(
		json_object_members(body, last_len - (size_t)(body - last), members, 1, &error_at));
	return members[0].value;
}

static int64_t position(void)
{
	int64_t id = -1;

	assert_true(json_int64(member("last_event_id"), &id));
	return id;
}

static size_t pushes(void)
{
	struct json_value all = member("pushes");
	size_t count = 0;

	for (size_t i = 0; i + 5 < all.len; i++)
		count += memcmp(all.at + i, "\"id\":", 5) == 0;
	return count;
}

static int64_t number_of(const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t number;

	sqlite3_prepare_v2(database_handle(service->database), sql, -1, &statement, NULL);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

static int64_t newest(void)
{
	return number_of("SELECT max(id) FROM events");
}

static void add_events(const char *topic, int count)
{
	char sql[256];

	snprintf(
		sql, sizeof(sql),
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		"INSERT INTO events (kind, topic, created_ms, payload) SELECT 0, '%s', 0, i FROM n",
		count, topic);
	execute(sql);
}

/* Open topic t, closed topic c, and nothing of what the test before did. */
static int begin(void **state)
{
	static char none[] = "";

	(void)state;
	config.poll_rate = 0;
	config.allowed_origins = config.trusted_proxies = none;
	execute("DELETE FROM topics WHERE topic <> 'worker.status'; "
		"INSERT INTO topics VALUES ('t', 0, 0, 9e18), ('c', 1, 0, 9e18), ('old', 0, 0, 1); "
		"DELETE FROM id_jumps WHERE before_id > 0");
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(last);
	last = NULL;
	return 0;
}

static void it_brings_what_is_new_byte_for_byte_and_then_nothing(void **state)
{
	static const char odd[] = "[1.10, 12345678901234567890,\t\"\\u2028\\/\xC3\xA9\"]";
	char expected[512], body[128];
	int64_t start = newest();

	(void)state;
	snprintf(expected, sizeof(expected),
		 "{\"type\":\"auth_ok\",\"last_event_id\":%" PRId64
		 ",\"recovered\":true,\"pushes\":[]}",
		 start);
	assert_string_equal(poll_as("topic=t", AUTH, 200), expected);
	assert_string_equal(
		poll_as("topic=t", "{\"type\":\"auth\",\"last_event_id\":null,\"x\":1}", 200),
		expected);
	assert_non_null(strstr(last, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(last, "\r\nAccess-Control-Allow-Origin: *\r\n"));
	assert_string_equal(poll_from(start, 204), "");
	assert_string_equal(last,
			    "Status: 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n");

	snprintf(body, sizeof(body), "{\"topic\":\"t\",\"payload\":%s}", odd);
	post("publish", body, 200);
	post("publish", "{\"topic\":\"c\",\"payload\":\"not mine\"}", 200);
	post("publish", "{\"topic\":\"t\",\"payload\":null}", 200);
	totals_write(service->totals, &service->counters, 100);
	snprintf(expected, sizeof(expected),
		 "{\"type\":\"auth_ok\",\"last_event_id\":%" PRId64
		 ",\"recovered\":true,\"pushes\":[{\"id\":%" PRId64
		 ",\"payload\":%s},{\"id\":%" PRId64 ",\"payload\":null}]}",
		 start + 3, start + 1, odd, start + 3);
	assert_string_equal(poll_from(start, 200), expected);
	assert_string_equal(poll_from(start, 200), expected); /* it is not used up */
	poll_from(start + 3, 204);
	poll_from(start + 2, 200);
	assert_int_equal(pushes(), 1);
}

static void a_position_that_cannot_be_vouched_for_is_not_recovered(void **state)
{
	int64_t start = newest(), bad[] = {0, 1, 0, INT64_C(1) << 53, INT64_MAX, 0, 0};
	char expected[128], sql[256];

	(void)state;
	add_events("t", 3);
	add_events("c", 1);
	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (id, kind, created_ms) VALUES (%" PRId64 ", 4, 0); "
		 "INSERT INTO id_jumps VALUES (%" PRId64 ", %" PRId64 ", 'boot'); "
		 "DELETE FROM events WHERE id <= %" PRId64,
		 start + 1000, start + 1000, start + 4, start + 2);
	execute(sql);
	bad[0] = start + 1; /* pruned */
	bad[2] = start + 1001; /* the future */
	bad[5] = start + 5; /* jumped over */
	bad[6] = start + 999;
	snprintf(expected, sizeof(expected),
		 "{\"type\":\"auth_ok\",\"last_event_id\":%" PRId64
		 ",\"recovered\":false,\"pushes\":[]}",
		 start + 1000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_string_equal(poll_from(bad[i], 200), expected);
	poll_from(start + 2, 200); /* nothing of it is gone */
	assert_int_equal(pushes(), 1);
	assert_int_equal(member("recovered").kind, JSON_TRUE);
	assert_int_equal(position(), start + 1000);
	poll_from(start + 4, 204);
}

static void a_hundred_pushes_fit_and_the_rest_comes_next(void **state)
{
	int64_t start = newest();

	(void)state;
	add_events("t", POLL_PUSHES_MAX);
	poll_from(start, 200);
	assert_int_equal(pushes(), POLL_PUSHES_MAX);
	assert_int_equal(member("more").kind, JSON_ABSENT);
	assert_int_equal(position(), start + POLL_PUSHES_MAX);
	add_events("c", 5);
	add_events("t", 1);
	poll_from(start, 200);
	assert_int_equal(pushes(), POLL_PUSHES_MAX);
	assert_int_equal(member("more").kind, JSON_TRUE);
	assert_non_null(strstr(last, "}],\"more\":true}"));
	assert_in_range(position(), start + POLL_PUSHES_MAX, start + POLL_PUSHES_MAX + 5);
	poll_from(position(), 200);
	assert_int_equal(pushes(), 1);
	assert_int_equal(member("more").kind, JSON_ABSENT);
	poll_from(position(), 204);
}

/* Publishes a text of that many bytes. */
static void publish_long(size_t len)
{
	char *body = xcalloc(len + 64, 1);
	size_t head_len = (size_t)snprintf(body, 64, "{\"topic\":\"t\",\"payload\":\"");

	memset(body + head_len, 'x', len);
	memcpy(body + head_len + len, "\"}", 2);
	post("publish", body, 200);
	free(body);
	totals_write(service->totals, &service->counters, 100);
}

static void a_mebibyte_fits_and_a_longer_push_goes_alone(void **state)
{
	int64_t start = newest();
	const size_t half = POLL_BYTES_MAX / 2, rest = 64; /* for what is around a payload */

	(void)state;
	publish_long(half - rest);
	publish_long(half - rest);
	poll_from(start, 200);
	assert_int_equal(pushes(), 2);
	publish_long(rest);
	poll_from(start, 200);
	assert_int_equal(pushes(), 2);
	assert_int_equal(member("more").kind, JSON_TRUE);
	assert_int_equal(position(), start + 2);
	assert_true(member("pushes").len <= POLL_BYTES_MAX + 2);
	publish_long(REQUEST_BODY_MAX - 26); /* the longest there is */
	publish_long(1);
	poll_from(start + 3, 200);
	assert_int_equal(pushes(), 1);
	assert_int_equal(member("more").kind, JSON_TRUE);
	assert_true(member("pushes").len > POLL_BYTES_MAX - 26);
	poll_from(position(), 200);
	assert_int_equal(pushes(), 1);
	assert_int_equal(member("more").kind, JSON_ABSENT);
}

static void what_happens_on_other_topics_moves_it_on_now_and_then(void **state)
{
	int64_t start = newest();

	(void)state;
	add_events("c", POLL_BEHIND_MAX);
	poll_from(start, 204);
	add_events("c", 1);
	poll_from(start, 200);
	assert_int_equal(pushes(), 0);
	assert_int_equal(member("more").kind, JSON_ABSENT);
	assert_int_equal(position(), start + POLL_BEHIND_MAX + 1);
	poll_from(position(), 204);
	add_events("c", POLL_ROWS_MAX);
	add_events("t", 1);
	poll_from(start, 200);
	assert_int_equal(pushes(), 0);
	assert_int_equal(member("more").kind, JSON_TRUE);
	assert_int_equal(position(), start + POLL_ROWS_MAX);
	poll_from(position(), 200);
	assert_int_equal(pushes(), 1);
	assert_int_equal(position(), newest());
	poll_from(newest() - 1, 200);
	execute("DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
}

static void each_refusal_has_its_status_and_text(void **state)
{
	static char too_long[MESSAGE_MAX_BYTES + 2], fits[MESSAGE_MAX_BYTES + 1];
	const struct {
		const char *query, *body;
		int status;
		const char *text;
	} cases[] = {
		{"", AUTH, 400, "missing topic\n"},
		{"topic=", AUTH, 400, "missing topic\n"},
		{"topic=%", AUTH, 400, "bad topic: broken percent-encoding\n"},
		{"topic=%00", AUTH, 404, "topic not registered\n"},
		{"topic=nobody", AUTH, 404, "topic not registered\n"},
		{"topic=nobody", "rubbish", 404, "topic not registered\n"},
		{"topic=old", AUTH, 404, "topic not registered\n"},
		{"topic=T", AUTH, 404, "topic not registered\n"},
		{"topic=t", "", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "x", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "[]", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", AUTH "x", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"status\"}", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"x\":\"\xFF\"}", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"token\":1}", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"last_event_id\":-1}", 400, MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"last_event_id\":1.0}", 400,
		 MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"last_event_id\":1e3}", 400,
		 MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"last_event_id\":\"1\"}", 400,
		 MESSAGE_AUTH_REQUIRED},
		{"topic=t", "{\"type\":\"auth\",\"last_event_id\":9223372036854775808}", 400,
		 MESSAGE_AUTH_REQUIRED},
		{"topic=c", AUTH, 400, MESSAGE_AUTH_REQUIRED},
		{"topic=worker.status", AUTH, 400, MESSAGE_AUTH_REQUIRED},
		{"topic=c", "{\"type\":\"auth\",\"token\":\"x\"}", 401, MESSAGE_UNAUTHORIZED},
		{"topic=t", fits, 200, NULL},
		{"topic=t", too_long, 413, "body too large\n"},
		{"", too_long, 413, "body too large\n"},
	};

	(void)state;
	memset(too_long, ' ', sizeof(too_long) - 1);
	memset(fits, ' ', sizeof(fits) - 1);
	memcpy(too_long, AUTH, strlen(AUTH));
	memcpy(fits, AUTH, strlen(AUTH));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *body = poll_as(cases[i].query, cases[i].body, cases[i].status);

		if (cases[i].text)
			assert_string_equal(body, cases[i].text);
		assert_non_null(strstr(last, cases[i].text && *cases[i].text != '{'
						     ? "\r\nContent-Type: text/plain"
						     : "\r\nContent-Type: application/json\r\n"));
		assert_non_null(strstr(last, "\r\nX-Content-Type-Options: nosniff\r\n"));
		assert_non_null(strstr(last, "\r\nAccess-Control-Allow-Origin: *\r\n"));
	}
	struct request request = poll_of("topic=t", AUTH);
	request.body_state = REQUEST_BODY_CUT_SHORT;
	ask(&request, 400);
}

/* A poll of c, or of the topic that the service itself has, with such a token. */
static void assert_token(const char *secret, const char *claims, int status, const char *text)
{
	const bool is_status = strstr(claims, "worker.status") != NULL;
	char *token = token_of_bytes(secret, claims, strlen(claims)), body[1024];

	snprintf(body, sizeof(body), "{\"type\":\"auth\",\"token\":\"%s\"}", token);
	const char *got = poll_as(is_status ? "topic=worker.status" : "topic=c", body, status);
	if (text)
		assert_string_equal(got, text);
	free(token);
}

static void a_closed_topic_wants_its_token_each_time(void **state)
{
	(void)state;
	assert_token(SECRET, "{\"topic\":\"c\",\"expires\":" FOREVER "}", 200, NULL);
	assert_token(PREVIOUS_SECRET, "{\"topic\":\"c\",\"expires\":" FOREVER "}", 200, NULL);
	assert_token(SECRET, "{\"topic\":\"worker.status\",\"expires\":" FOREVER "}", 200, NULL);
	assert_int_equal(pushes(), 0);
	assert_token(SECRET, "{\"topic\":\"c\",\"expires\":1}", 401, MESSAGE_AUTH_EXPIRED);
	config.token_expiry = CONFIG_TOKEN_EXPIRY_KEEP; /* of connections */
	assert_token(SECRET, "{\"topic\":\"c\",\"expires\":1}", 401, MESSAGE_AUTH_EXPIRED);
	config.token_expiry = CONFIG_TOKEN_EXPIRY_CLOSE;
	assert_token(SECRET, "{\"topic\":\"t\",\"expires\":" FOREVER "}", 401,
		     MESSAGE_UNAUTHORIZED);
	assert_token("00000000000000000000000000000000",
		     "{\"topic\":\"c\",\"expires\":" FOREVER "}", 401, MESSAGE_UNAUTHORIZED);
	poll_as("topic=t", "{\"type\":\"auth\",\"token\":\"rubbish\"}", 200);
	execute("UPDATE topics SET require_token = 1 WHERE topic = 't'");
	poll_as("topic=t", "{\"type\":\"auth\",\"token\":\"rubbish\"}", 401);
	execute("DELETE FROM topics WHERE topic = 't'");
	poll_as("topic=t", "{\"type\":\"auth\",\"token\":\"rubbish\"}", 404);
}

static void pages_of_other_origins_are_told_in_each_answer(void **state)
{
	static const struct {
		const char *method, *query, *body;
		int status, forbidden; /* when the origin may poll, and when it may not */
	} cases[] = {
		{"POST", "topic=t", AUTH, 200, 403},
		{"POST", "topic=t", "x", 400, 403},
		{"POST", "topic=c", "{\"type\":\"auth\",\"token\":\"x\"}", 401, 403},
		{"POST", "topic=nobody", AUTH, 404, 403},
		{"POST", "", AUTH, 400, 400},
		{"GET", "topic=t", "", 405, 405},
		{"HEAD", "topic=t", "", 405, 405},
		{"post", "topic=t", AUTH, 405, 405},
		{"OPTIONS", "topic=t", "", 204, 204},
	};
	static const char good[] = "\r\nAccess-Control-Allow-Origin: https://a.example\r\n";

	(void)state;
	config.allowed_origins = (char[]){"https://a.example,https://*.b.example"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct request request = poll_of(cases[i].query, cases[i].body);

		request.method = cases[i].method;
		ask(&request, cases[i].status); /* no page */
		assert_null(strstr(last, "Allow-Origin"));
		request.origin = "https://a.example";
		ask(&request, cases[i].status);
		assert_non_null(strstr(last, good));
		assert_non_null(strstr(last, "\r\nVary: Origin\r\n"));
		if (cases[i].status == 405)
			assert_non_null(strstr(last, "\r\nAllow: POST, OPTIONS\r\n"));
		assert_int_equal(cases[i].status == 204,
				 strstr(last, "\r\nAccess-Control-Allow-Methods: POST\r\n") !=
					 NULL);
		request.origin = "https://evil.example\r\nX: y";
		ask(&request, cases[i].forbidden);
		assert_null(strstr(last, "Allow-Origin"));
		assert_null(strstr(last, "evil"));
		assert_non_null(strstr(last, "\r\nVary: Origin\r\n"));
	}
	struct request status = request_to("status", "");
	status.origin = "https://a.example";
	answer(&status, 503);
	assert_null(strstr(response.bytes, "Allow-Origin"));
}

/* How many of `count` polls from there are allowed. */
static int allowed(int count, const char *address, const char *forwarded_for)
{
	struct request request = poll_of("topic=t", AUTH);
	int times = 0;

	request.address = address;
	request.forwarded_for = forwarded_for;
	for (int i = 0; i < count; i++) {
		routes_answer(service, &request, &response);
		if (response.status == 429)
			assert_non_null(strstr(response.bytes, "\r\nRetry-After: 1\r\n"));
		else
			assert_int_equal(response.status, 200);
		times += response.status == 200;
	}
	return times;
}

static void an_address_may_poll_so_often(void **state)
{
	(void)state;
	config.poll_rate = 1; /* two at once */
	assert_int_equal(allowed(5, "192.0.2.1", ""), 2);
	assert_int_equal(allowed(5, "192.0.2.2", ""), 2);
	assert_int_equal(allowed(5, "192.0.2.1", ""), 0);
	assert_int_equal(allowed(5, "192.0.2.1", "192.0.2.9"), 0); /* nobody trusts it */
	assert_int_equal(allowed(5, "2001:db8:1:2::3", ""), 2);
	assert_int_equal(allowed(5, "2001:db8:1:2:ffff::4", ""), 0); /* the same /64 */
	assert_int_equal(allowed(5, "2001:db8:1:3::3", ""), 2);
	assert_int_equal(allowed(5, "127.0.0.1", "192.0.2.3"), 2);
	assert_int_equal(allowed(5, "127.0.0.1", "192.0.2.4"), 2);
	assert_int_equal(allowed(5, "::1", "192.0.2.99, 192.0.2.4"), 0);
	config.trusted_proxies = (char[]){"192.0.2.0/24"};
	assert_int_equal(allowed(5, "192.0.2.1", "198.51.100.1"), 2);
	assert_int_equal(allowed(5, "", ""), 5); /* who knows */
	assert_int_equal(allowed(5, "unix:", ""), 5);
	for (int i = 0; i < 3000; i++) { /* more than are kept: none suffers for another */
		char address[32];

		snprintf(address, sizeof(address), "10.1.%d.%d", i / 250, i % 250);
		assert_int_equal(allowed(1, address, ""), 1);
	}
	config.poll_rate = 0;
	assert_int_equal(allowed(100, "192.0.2.1", ""), 100);
}

static sqlite3 *other;

/* Somebody prunes all and publishes in the middle of a poll. */
static int interfere(unsigned what, void *context, void *statement, void *text)
{
	(void)what;
	(void)context;
	(void)statement;
	if (strncmp(text, "SELECT coalesce", 15) == 0) /* after the topic was looked up */
		assert_int_equal(
			sqlite3_exec(other,
				     "INSERT INTO events (kind, topic, created_ms, payload) "
				     "VALUES (0, 't', 0, 4); "
				     "DELETE FROM events WHERE id < (SELECT max(id) FROM events)",
				     NULL, NULL, NULL),
			SQLITE_OK);
	return 0;
}

static void an_answer_is_of_one_moment(void **state)
{
	char path[256];
	int64_t start = newest();

	(void)state;
	add_events("t", 3);
	snprintf(path, sizeof(path), "%s/worker.db", directory);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	sqlite3_trace_v2(database_handle(service->database), SQLITE_TRACE_STMT, interfere, NULL);
	poll_from(start, 200);
	sqlite3_trace_v2(database_handle(service->database), 0, NULL, NULL);
	sqlite3_close(other);
	assert_int_equal(member("recovered").kind, JSON_TRUE);
	assert_int_equal(pushes(), 3);
	assert_int_equal(position(), start + 3);
	poll_from(start + 3, 200);
	assert_int_equal(pushes(), 1);
	poll_from(start, 200);
	assert_int_equal(member("recovered").kind, JSON_FALSE);
}

static void a_database_that_cannot_be_read_lets_nobody_in(void **state)
{
	(void)state;
	execute("ALTER TABLE pruned RENAME TO away");
	assert_memory_equal(poll_from(newest(), 503), "unavailable: ", 13);
	assert_non_null(strstr(last, "\r\nRetry-After: 1\r\n"));
	execute("ALTER TABLE away RENAME TO pruned");
	poll_from(newest(), 204);
}

#define POLL_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POLL_TEST(it_brings_what_is_new_byte_for_byte_and_then_nothing),
		POLL_TEST(a_position_that_cannot_be_vouched_for_is_not_recovered),
		POLL_TEST(a_hundred_pushes_fit_and_the_rest_comes_next),
		POLL_TEST(a_mebibyte_fits_and_a_longer_push_goes_alone),
		POLL_TEST(what_happens_on_other_topics_moves_it_on_now_and_then),
		POLL_TEST(each_refusal_has_its_status_and_text),
		POLL_TEST(a_closed_topic_wants_its_token_each_time),
		POLL_TEST(pages_of_other_origins_are_told_in_each_answer),
		POLL_TEST(an_address_may_poll_so_often),
		POLL_TEST(an_answer_is_of_one_moment),
		POLL_TEST(a_database_that_cannot_be_read_lets_nobody_in),
	};

	return cmocka_run_group_tests(tests, open_service, close_service);
}
