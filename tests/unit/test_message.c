// needs: gateway/message.c
/*
 * The frames of PROTOCOL.md, section 2. Client frames are parsed in memory of just their length, so
 * that the build with sanitizers finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "gateway/message.h"
#include "shared/alloc.h"
#include "shared/version.h"

static struct message message;

static enum message_kind parse(const char *text, size_t len)
{
	char *exact = xreallocarray(NULL, len, 1);

	if (len > 0)
		memcpy(exact, text, len);
	memset(&message, 0xA5, sizeof(message)); /* nothing of what was there before counts */
	message_parse(exact, len, &message);
	free(exact);
	return message.kind;
}

static enum message_kind kind_of(const char *text)
{
	return parse(text, strlen(text));
}

static void assert_token(const char *text, const char *token, size_t len)
{
	if (kind_of(text) != MESSAGE_AUTH || message.token_state != MESSAGE_TOKEN_GIVEN)
		fail_msg("%s: no token", text);
	assert_int_equal(message.token_len, len);
	assert_memory_equal(message.token, token, len);
}

static void an_auth_frame_hands_over_its_token(void **state)
{
	(void)state;
	assert_token("{\"type\":\"auth\",\"token\":\"61.62\"}", "61.62", 5);
	assert_token(" \t\r\n{ \"token\" : \"t\" , \"type\" : \"auth\" } ", "t", 1);
	assert_token("{\"type\":\"auth\",\"token\":\"t\",\"more\":[{\"token\":\"u\"}],\"x\":1e5}",
		     "t", 1);
	assert_token("{\"type\":\"auth\",\"token\":\" \"}", " ", 1);
}

static void escapes_are_decoded_in_names_types_and_tokens(void **state)
{
	(void)state;
	assert_token("{\"\\u0074ype\":\"\\u0061uth\",\"t\\u006Fken\":\"a\\u002eb\"}", "a.b", 3);
	assert_token("{\"type\":\"auth\",\"token\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
		     "\"\\/\b\f\n\r\t", 8);
	assert_token("{\"type\":\"auth\",\"token\":\"\\u00e9\\u20AC\\ud83d\\uDCE1\"}",
		     "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x93\xA1", 9);
	assert_token("{\"type\":\"auth\",\"token\":\"a\\u0000b\"}", "a\0b", 3);
	assert_token("{\"type\":\"auth\",\"token\":\"\xC3\xA9\"}", "\xC3\xA9", 2);
}

static void a_token_that_is_missing_null_or_empty_is_left_out(void **state)
{
	static const char *const texts[] = {
		"{\"type\":\"auth\"}", "{\"type\":\"auth\",\"token\":null}",
		"{\"type\":\"auth\",\"token\":\"\"}", "{\"type\":\"auth\",\"Token\":\"t\"}",
		"{\"type\":\"auth\",\"a\":{\"token\":\"t\"}}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(kind_of(texts[i]), MESSAGE_AUTH);
		if (message.token_state != MESSAGE_TOKEN_LEFT_OUT || message.token_len != 0)
			fail_msg("%s has a token", texts[i]);
	}
}

static void a_token_that_is_no_text_is_told_from_one_left_out(void **state)
{
	static const char *const tokens[] = {
		"1",	       "0",	 "true",	"false",	 "{}",
		"[\"t\"]",     "-1.5e3", "\"\\ud800\"", "\"a\\udc00b\"", "\"\\ud800\\ud800\"",
		"\"t\\uD83D\""};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		snprintf(text, sizeof(text), "{\"type\":\"auth\",\"token\":%s}", tokens[i]);
		assert_int_equal(kind_of(text), MESSAGE_AUTH);
		if (message.token_state != MESSAGE_TOKEN_NOT_TEXT || message.token_len != 0)
			fail_msg("%s is a token", tokens[i]);
	}
}

static void of_members_given_twice_the_last_one_counts(void **state)
{
	(void)state;
	assert_token("{\"type\":\"auth\",\"token\":\"a\",\"token\":\"b\"}", "b", 1);
	assert_token("{\"type\":\"x\",\"token\":\"a\",\"type\":\"auth\"}", "a", 1);
	assert_int_equal(kind_of("{\"type\":\"auth\",\"token\":\"a\",\"token\":null}"),
			 MESSAGE_AUTH);
	assert_int_equal(message.token_state, MESSAGE_TOKEN_LEFT_OUT);
	assert_int_equal(kind_of("{\"type\":\"auth\",\"type\":\"x\"}"), MESSAGE_OTHER);
}

/* What an auth frame with this member asks for. */
static enum message_resume resume_of(const char *value)
{
	char text[128];

	snprintf(text, sizeof(text), "{\"type\":\"auth\",\"token\":\"t\",\"last_event_id\":%s}",
		 value);
	assert_int_equal(kind_of(text), MESSAGE_AUTH);
	assert_int_equal(message.token_state, MESSAGE_TOKEN_GIVEN); /* whatever stands beside it */
	return message.resume;
}

static void an_auth_frame_without_a_position_does_not_ask_to_resume(void **state)
{
	static const char *const texts[] = {
		"{\"type\":\"auth\",\"token\":\"t\"}",
		"{\"type\":\"auth\",\"Last_event_id\":7}",
		"{\"type\":\"auth\",\"last_event_id \":7}",
		"{\"type\":\"auth\",\"a\":{\"last_event_id\":7}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(kind_of(texts[i]), MESSAGE_AUTH);
		if (message.resume != MESSAGE_RESUME_NOT_ASKED)
			fail_msg("%s asks to resume", texts[i]);
	}
}

static void null_asks_to_resume_from_now(void **state)
{
	(void)state;
	assert_int_equal(resume_of("null"), MESSAGE_RESUME_FROM_NOW);
	assert_int_equal(resume_of(" null "), MESSAGE_RESUME_FROM_NOW);
}

static void an_integer_from_zero_on_is_a_position(void **state)
{
	static const struct {
		const char *text;
		int64_t id;
	} values[] = {{"0", 0},
		      {"-0", 0},
		      {"1", 1},
		      {" 7\t", 7},
		      {"1760000000000001", INT64_C(1760000000000001)},
		      {"9007199254740991", (INT64_C(1) << 53) - 1},
		      {"9007199254740993", (INT64_C(1) << 53) + 1},
		      {"9223372036854775807", INT64_MAX}};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (resume_of(values[i].text) != MESSAGE_RESUME_AFTER ||
		    message.last_event_id != values[i].id)
			fail_msg("%s is read as %lld", values[i].text,
				 (long long)message.last_event_id);
	}
}

static void any_other_position_is_malformed(void **state)
{
	static const char *const values[] = {"-1",
					     "-9223372036854775808",
					     "9223372036854775808",
					     "99999999999999999999",
					     "1.0",
					     "0.0",
					     "1e3",
					     "0e0",
					     "true",
					     "false",
					     "\"7\"",
					     "\"\"",
					     "[]",
					     "[7]",
					     "{}",
					     "{\"last_event_id\":7}"};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (resume_of(values[i]) != MESSAGE_RESUME_MALFORMED)
			fail_msg("%s is taken", values[i]);
}

static void of_positions_given_twice_the_last_one_counts(void **state)
{
	(void)state;
	assert_int_equal(resume_of("-1,\"last_event_id\":7"), MESSAGE_RESUME_AFTER);
	assert_int_equal(message.last_event_id, 7);
	assert_int_equal(resume_of("7,\"last\\u005Fevent_id\":null"), MESSAGE_RESUME_FROM_NOW);
	assert_int_equal(resume_of("7,\"last_event_id\":\"7\""), MESSAGE_RESUME_MALFORMED);
}

static void only_an_auth_frame_asks_to_resume(void **state)
{
	static const char *const texts[] = {"{\"type\":\"status\",\"last_event_id\":7}",
					    "{\"type\":\"x\",\"last_event_id\":null}",
					    "{\"last_event_id\":-1}", "{\"last_event_id\":7"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		kind_of(texts[i]);
		assert_int_equal(message.resume, MESSAGE_RESUME_NOT_ASKED);
		assert_int_equal(message.last_event_id, 0);
	}
}

static void a_status_frame_is_known_whatever_else_it_says(void **state)
{
	(void)state;
	assert_int_equal(kind_of("{\"type\":\"status\"}"), MESSAGE_STATUS);
	assert_int_equal(kind_of("{\"token\":7,\"type\":\"\\u0073tatus\"}"), MESSAGE_STATUS);
	assert_int_equal(message.token_len, 0);
	assert_int_equal(message.token_state, MESSAGE_TOKEN_LEFT_OUT);
}

static void an_object_of_another_type_or_of_none_is_other(void **state)
{
	static const char *const texts[] = {"{}",
					    " {} ",
					    "{\"token\":\"t\"}",
					    "{\"type\":null}",
					    "{\"type\":1}",
					    "{\"type\":\"\"}",
					    "{\"type\":\"Auth\"}",
					    "{\"type\":\"auth \"}",
					    "{\"type\":\"aut\"}",
					    "{\"type\":\"auths\"}",
					    "{\"type\":\"auth\\u0000\"}",
					    "{\"type\":\"\\ud800\"}",
					    "{\"type\":[\"auth\"]}",
					    "{\"type\":{\"type\":\"auth\"}}",
					    "{\"Type\":\"auth\"}",
					    "{\"a\":{\"type\":\"auth\"}}",
					    "{\"type\":\"push\",\"payload\":1}",
					    "{\"type\":\"auth_ok\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (kind_of(texts[i]) != MESSAGE_OTHER)
			fail_msg("%s", texts[i]);
		assert_int_equal(message.token_len, 0);
	}
}

static void what_is_not_one_strict_json_object_is_malformed(void **state)
{
	static const char *const texts[] = {"",
					    " ",
					    "auth",
					    "null",
					    "1",
					    "\"auth\"",
					    "[]",
					    "[{\"type\":\"auth\"}]",
					    "{",
					    "}",
					    "{\"type\":\"auth\"",
					    "{\"type\":\"auth\"}}",
					    "{\"type\":\"auth\"}{\"type\":\"auth\"}",
					    "{\"type\":\"auth\"} x",
					    "{\"type\":\"auth\",}",
					    "{type:\"auth\"}",
					    "{'type':'auth'}",
					    "{\"type\" \"auth\"}",
					    "{\"type\":\"auth\" \"token\":\"t\"}",
					    "{\"type\":\"auth\",\"token\":01}",
					    "{\"type\":\"auth\",\"token\":NaN}",
					    "{\"type\":\"auth\",\"token\":\"a\nb\"}",
					    "{\"type\":\"auth\",\"token\":\"\\x\"}",
					    "{\"type\":\"auth\",\"token\":\"\\u12\"}",
					    "\xEF\xBB\xBF{\"type\":\"auth\"}",
					    "/**/{\"type\":\"auth\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (kind_of(texts[i]) != MESSAGE_MALFORMED)
			fail_msg("%s", texts[i]);
		assert_int_equal(message.token_len, 0);
	}
	assert_int_equal(parse("{\"type\":\"auth\"}\0", 16), MESSAGE_MALFORMED);
	assert_int_equal(parse("{\"type\":\"au\0th\"}", 16), MESSAGE_MALFORMED);
}

static void invalid_utf8_is_malformed_wherever_it_stands(void **state)
{
	static const char *const texts[] = {"{\"type\":\"auth\",\"token\":\"\xFF\"}",
					    "{\"type\":\"auth\",\"token\":\"\xC0\x80\"}",
					    "{\"type\":\"auth\",\"token\":\"\xED\xA0\x80\"}",
					    "{\"\xC3\":1,\"type\":\"auth\"}",
					    "{\"type\":\"auth\",\"x\":[\"\xF4\x90\x80\x80\"]}",
					    "{\"type\":\"auth\"}\xC2\xA0"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(kind_of(texts[i]), MESSAGE_MALFORMED);
}

static void every_shorter_piece_of_a_frame_is_malformed(void **state)
{
	static const char text[] = "{\"type\":\"auth\",\"token\":\"a\\u00e9\",\"n\":[1,null]}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++)
		assert_int_equal(parse(text, len), MESSAGE_MALFORMED);
	assert_int_equal(parse(text, sizeof(text) - 1), MESSAGE_AUTH);
}

/* An auth frame of just `len` bytes, its token filled with `unit`. */
static size_t fill_frame(char *text, size_t len, const char *unit)
{
	static const char head[] = "{\"type\":\"auth\",\"token\":\"";
	size_t at = sizeof(head) - 1, units = 0;

	memset(text, ' ', len);
	memcpy(text, head, at);
	for (; at + strlen(unit) + 2 <= len; units++, at += strlen(unit))
		memcpy(text + at, unit, strlen(unit));
	memcpy(text + at, "\"}", 2);
	return units;
}

static void the_longest_frame_is_read_and_one_byte_more_is_malformed(void **state)
{
	static const struct {
		const char *escaped, *plain;
	} units[] = {{"x", "x"},
		     {"\\n", "\n"},
		     {"\\u0041", "A"},
		     {"\\ud83d\\udce1", "\xF0\x9F\x93\xA1"}};
	char text[MESSAGE_MAX_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t count = fill_frame(text, MESSAGE_MAX_BYTES, units[i].escaped);
		size_t plain_len = strlen(units[i].plain);

		assert_int_equal(parse(text, MESSAGE_MAX_BYTES), MESSAGE_AUTH);
		assert_int_equal(message.token_state, MESSAGE_TOKEN_GIVEN);
		assert_int_equal(message.token_len, count * plain_len);
		for (size_t at = 0; at < message.token_len; at += plain_len)
			assert_memory_equal(message.token + at, units[i].plain, plain_len);
		text[MESSAGE_MAX_BYTES] = ' ';
		assert_int_equal(parse(text, sizeof(text)), MESSAGE_MALFORMED);
	}
}

static void deep_nesting_is_refused_without_a_crash(void **state)
{
	char text[MESSAGE_MAX_BYTES];

	(void)state;
	memset(text, '[', sizeof(text));
	memcpy(text, "{\"type\":", 8);
	assert_int_equal(parse(text, sizeof(text)), MESSAGE_MALFORMED);
}

/* Word for word from PROTOCOL.md. */
static void what_the_server_says_is_what_the_contract_says(void **state)
{
	(void)state;
	assert_string_equal(MESSAGE_AUTH_OK, "{\"type\":\"auth_ok\"}");
	assert_string_equal(MESSAGE_AUTH_REQUIRED,
			    "{\"type\":\"error\",\"code\":\"auth_required\",\"message\":"
			    "\"first frame must be {type:auth,token:...}\"}");
	assert_string_equal(MESSAGE_UNAUTHORIZED,
			    "{\"type\":\"error\",\"code\":\"unauthorized\",\"message\":"
			    "\"invalid or expired token\"}");
	assert_string_equal(MESSAGE_AUTH_EXPIRED,
			    "{\"type\":\"error\",\"code\":\"auth_expired\",\"message\":"
			    "\"token expired\"}");
	assert_string_equal(MESSAGE_TOPIC_UNREGISTERED,
			    "{\"type\":\"error\",\"code\":\"topic_unregistered\",\"message\":"
			    "\"topic unregistered\"}");
}

/* Writes into memory of just the room that was asked for. */
static void assert_push(int64_t id, const char *head, const char *payload, size_t payload_len)
{
	size_t max = message_push_max(payload_len), head_len = strlen(head);
	char *out = xreallocarray(NULL, max, 1);
	size_t len = message_push_write(out, id, payload, payload_len);

	assert_in_range(len, 1, max);
	assert_int_equal(len, head_len + payload_len + 1);
	assert_memory_equal(out, head, head_len);
	assert_memory_equal(out + head_len, payload, payload_len);
	assert_int_equal(out[len - 1], '}');
	free(out);
}

#define PLAIN "{\"type\":\"push\",\"payload\":"

static void a_push_holds_the_payloads_bytes_unchanged(void **state)
{
	enum { LARGE = 1024 * 1024 };
	static const char odd[] = "{\"a\" : [12345678901234567890, 1.10,\t\"\\u2028\\/\xC3\xA9\"]}";
	char *large = xreallocarray(NULL, LARGE, 1);

	(void)state;
	assert_push(0, PLAIN, "1", 1);
	assert_push(0, PLAIN, "null", 4);
	assert_push(0, PLAIN, odd, strlen(odd));
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)i;
	assert_push(0, PLAIN, large, LARGE);
	assert_push(7, "{\"type\":\"push\",\"id\":7,\"payload\":", large, LARGE);
	free(large);
}

static void a_push_has_its_id_in_front_of_its_payload(void **state)
{
	(void)state;
	assert_push(1, "{\"type\":\"push\",\"id\":1,\"payload\":", "{\"id\":2}", 8);
	assert_push(INT64_C(1760000000000001),
		    "{\"type\":\"push\",\"id\":1760000000000001,\"payload\":", "1", 1);
	assert_push((INT64_C(1) << 53) - 1,
		    "{\"type\":\"push\",\"id\":9007199254740991,\"payload\":", "1", 1);
}

static void the_longest_id_fits_into_the_room(void **state)
{
	(void)state;
	assert_push(INT64_MAX, "{\"type\":\"push\",\"id\":9223372036854775807,\"payload\":", "", 0);
}

/* Writes into memory of just the promised size. */
static void assert_resumed(int64_t last_event_id, bool recovered, const char *expected)
{
	char *out = xreallocarray(NULL, MESSAGE_RESUMED_SIZE, 1);
	size_t len = message_resumed_write(out, last_event_id, recovered);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, len);
	free(out);
}

static void the_answer_to_a_resume_says_the_position_and_whether_all_is_there(void **state)
{
	(void)state;
	assert_resumed(0, true, "{\"type\":\"auth_ok\",\"last_event_id\":0,\"recovered\":true}");
	assert_resumed(1234, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":1234,\"recovered\":false}");
	assert_resumed(INT64_MAX, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":9223372036854775807,"
		       "\"recovered\":false}");
	assert_resumed(INT64_MIN, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":-9223372036854775808,"
		       "\"recovered\":false}");
}

/* Writes into memory of just the promised size. */
static void assert_status(const struct message_status *status, const char *expected)
{
	char *out = xreallocarray(NULL, MESSAGE_STATUS_SIZE, 1);
	size_t len = message_status_write(out, status);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, len);
	free(out);
}

static void a_status_frame_has_its_members_in_the_contracts_order(void **state)
{
	const struct message_status status = {.uptime_s = 862,
					      .registered_topics = 1,
					      .active_topics = 2,
					      .connected_clients = 3,
					      .connected_sockets = 4,
					      .cluster_nodes = -1};

	(void)state;
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"14m22s\",\"uptime_seconds\":862,\"registered_topics\":1,"
		"\"active_topics\":2,\"connected_clients\":3,\"connected_sockets\":4,"
		"\"cluster_nodes\":-1}}");
}

static void the_largest_numbers_fit_and_time_is_never_negative(void **state)
{
	struct message_status status = {.uptime_s = INT64_MAX,
					.registered_topics = INT64_MIN,
					.active_topics = INT64_MIN,
					.connected_clients = INT64_MIN,
					.connected_sockets = INT64_MIN,
					.cluster_nodes = INT64_MIN};

	(void)state;
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"2562047788015215h30m7s\",\"uptime_seconds\":9223372036854775807,"
		"\"registered_topics\":-9223372036854775808,"
		"\"active_topics\":-9223372036854775808,"
		"\"connected_clients\":-9223372036854775808,"
		"\"connected_sockets\":-9223372036854775808,"
		"\"cluster_nodes\":-9223372036854775808}}");
	status = (struct message_status){.uptime_s = -3600};
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"0s\",\"uptime_seconds\":0,\"registered_topics\":0,"
		"\"active_topics\":0,\"connected_clients\":0,\"connected_sockets\":0,"
		"\"cluster_nodes\":0}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_auth_frame_hands_over_its_token),
		cmocka_unit_test(escapes_are_decoded_in_names_types_and_tokens),
		cmocka_unit_test(a_token_that_is_missing_null_or_empty_is_left_out),
		cmocka_unit_test(a_token_that_is_no_text_is_told_from_one_left_out),
		cmocka_unit_test(of_members_given_twice_the_last_one_counts),
		cmocka_unit_test(an_auth_frame_without_a_position_does_not_ask_to_resume),
		cmocka_unit_test(null_asks_to_resume_from_now),
		cmocka_unit_test(an_integer_from_zero_on_is_a_position),
		cmocka_unit_test(any_other_position_is_malformed),
		cmocka_unit_test(of_positions_given_twice_the_last_one_counts),
		cmocka_unit_test(only_an_auth_frame_asks_to_resume),
		cmocka_unit_test(a_status_frame_is_known_whatever_else_it_says),
		cmocka_unit_test(an_object_of_another_type_or_of_none_is_other),
		cmocka_unit_test(what_is_not_one_strict_json_object_is_malformed),
		cmocka_unit_test(invalid_utf8_is_malformed_wherever_it_stands),
		cmocka_unit_test(every_shorter_piece_of_a_frame_is_malformed),
		cmocka_unit_test(the_longest_frame_is_read_and_one_byte_more_is_malformed),
		cmocka_unit_test(deep_nesting_is_refused_without_a_crash),
		cmocka_unit_test(what_the_server_says_is_what_the_contract_says),
		cmocka_unit_test(a_push_holds_the_payloads_bytes_unchanged),
		cmocka_unit_test(a_push_has_its_id_in_front_of_its_payload),
		cmocka_unit_test(the_longest_id_fits_into_the_room),
		cmocka_unit_test(the_answer_to_a_resume_says_the_position_and_whether_all_is_there),
		cmocka_unit_test(a_status_frame_has_its_members_in_the_contracts_order),
		cmocka_unit_test(the_largest_numbers_fit_and_time_is_never_negative),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
