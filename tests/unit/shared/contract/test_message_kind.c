/*
 * What kind of frame of the contract (docs/clients.md) a client's bytes are: one that is known,
 * another object, or malformed.
 */
#include "tests/unit/shared/contract/message_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_frame_is_known_whatever_else_it_says),
		cmocka_unit_test(an_object_of_another_type_or_of_none_is_other),
		cmocka_unit_test(what_is_not_one_strict_json_object_is_malformed),
		cmocka_unit_test(invalid_utf8_is_malformed_wherever_it_stands),
		cmocka_unit_test(every_shorter_piece_of_a_frame_is_malformed),
		cmocka_unit_test(the_longest_frame_is_read_and_one_byte_more_is_malformed),
		cmocka_unit_test(deep_nesting_is_refused_without_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
