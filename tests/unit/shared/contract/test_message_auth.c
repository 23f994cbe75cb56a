/*
 * The auth frames of the contract (docs/clients.md): the token, and the position from which a
 * client asks to resume.
 */
#include "tests/unit/shared/contract/message_fixture.h"

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
	assert_int_equal(message.token_state, MESSAGE_TOKEN_GIVEN); /* whatever is beside it */
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
		    message.last_event_id.id != values[i].id)
			fail_msg("%s is read as %lld", values[i].text,
				 (long long)message.last_event_id.id);
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
	assert_int_equal(message.last_event_id.id, 7);
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
		assert_int_equal(message.last_event_id.id, 0);
	}
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
