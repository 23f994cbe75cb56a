/*
 * The members of a JSON object, as slices of its text, and what a value says: strings decoded and
 * compared, integers. Values are in memory of just their length, so that the build with sanitizers
 * finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/json/json.h"

/* The members `names` of `text`, which must be good; the caller frees *copy after use. */
static void read_members(const char *text, struct json_member *members, size_t count, char **copy)
{
	size_t len = strlen(text), error_at;

	*copy = xreallocarray(NULL, len, 1);
	memcpy(*copy, text, len);
	assert_null(json_object_members(*copy, len, members, count, &error_at));
}

static void assert_slice(struct json_value value, enum json_kind kind, const char *bytes)
{
	assert_int_equal(value.kind, kind);
	assert_int_equal(value.len, strlen(bytes));
	assert_memory_equal(value.at, bytes, value.len);
}

static void a_member_is_the_bytes_as_they_stand(void **state)
{
	(void)state;
	static const struct {
		const char *text, *slice;
		enum json_kind kind;
	} cases[] = {
		{"{\"p\":1.10}", "1.10", JSON_NUMBER},
		{"{\"p\" : 12345678901234567890123 }", "12345678901234567890123", JSON_NUMBER},
		{"{\"p\":\"\\u2028\\/ \xE2\x80\xA8\"}", "\"\\u2028\\/ \xE2\x80\xA8\"", JSON_STRING},
		{"{\"p\":\"a}],\\\"b\",\"q\":0}", "\"a}],\\\"b\"", JSON_STRING},
		{"{\"p\": [ 1 ,\n\t{} ] }", "[ 1 ,\n\t{} ]", JSON_ARRAY},
		{"{\"p\":{ \"p\" : {\"p\":1} } }", "{ \"p\" : {\"p\":1} }", JSON_OBJECT},
		{"{\"p\":{}}", "{}", JSON_OBJECT},
		{"{\"p\":[]}", "[]", JSON_ARRAY},
		{"{\"p\":true,\"x\":false}", "true", JSON_TRUE},
		{"{\"x\":true,\"p\":false}", "false", JSON_FALSE},
		{" { \"p\" :\r\nnull\r\n} ", "null", JSON_NULL},
		{"{\"p\":-0e-0}", "-0e-0", JSON_NUMBER},
		/* of members given twice the last one counts */
		{"{\"p\":1,\"p\":[2]}", "[2]", JSON_ARRAY},
		{"{\"p\":{\"a\":1},\"x\":0,\"p\":null}", "null", JSON_NULL},
		/* however the name is escaped */
		{"{\"\\u0070\":3}", "3", JSON_NUMBER},
		{"{\"p\":3,\"\\u0070\":4}", "4", JSON_NUMBER},
		/* members of members are not members */
		{"{\"x\":{\"p\":1},\"p\":2,\"y\":[{\"p\":3}]}", "2", JSON_NUMBER},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_member member = {.name = "p"};
		char *copy;

		read_members(cases[i].text, &member, 1, &copy);
		assert_slice(member.value, cases[i].kind, cases[i].slice);
		assert_true(member.value.at > copy);
		free(copy);
	}
}

static void a_member_that_is_not_there_is_absent(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{}",
		"{\"P\":1}",
		"{\"pp\":1}",
		"{\"\":1}",
		"{\"p \":1}",
		"{\"p\\u0000\":1}",
		"{\"x\":\"p\"}",
		"{\"x\":{\"p\":1}}",
		"{\"x\":[\"p\",{\"p\":1}]}",
		"{\"\\ud800\":1}",
		"{\"p\\ud800\":1}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		/* Left over from another text. */
		struct json_member member = {.name = "p", .value = {JSON_TRUE, "true", 4}};
		char *copy;

		read_members(texts[i], &member, 1, &copy);
		assert_int_equal(member.value.kind, JSON_ABSENT);
		free(copy);
	}
}

/* Not even the bytes behind a text of ours: for the build with sanitizers. */
static void a_name_with_a_lone_surrogate_is_nobodys_however_long_it_is(void **state)
{
	(void)state;
	struct json_member member = {.name = "?ayload"};
	char *copy;

	read_members("{\"\\ud800x\":1}", &member, 1, &copy);
	assert_int_equal(member.value.kind, JSON_ABSENT);
	free(copy);
}

static void many_members_are_found_in_any_order(void **state)
{
	(void)state;
	struct json_member members[] = {{.name = "topic"}, {.name = "payload"}, {.name = "meta"}};
	char *copy;

	read_members("{\"meta\":{},\"other\":[],\"payload\":\"x\",\"\\u0074opic\":\"t\"}", members,
		     3, &copy);
	assert_slice(members[0].value, JSON_STRING, "\"t\"");
	assert_slice(members[1].value, JSON_STRING, "\"x\"");
	assert_slice(members[2].value, JSON_OBJECT, "{}");
	free(copy);
}

/* Without braces of its own: clang-format would take them for a block. */
#define TEXT(literal) literal, sizeof(literal) - 1

/* A JSON string's value, in memory of just its length. */
static struct json_value string_value(const char *literal, char **copy)
{
	size_t len = strlen(literal);

	*copy = xreallocarray(NULL, len, 1);
	memcpy(*copy, literal, len);
	return (struct json_value){.kind = JSON_STRING, .at = *copy, .len = len};
}

static void a_string_is_decoded(void **state)
{
	(void)state;
	static const struct {
		const char *literal, *bytes;
		size_t len;
	} cases[] = {
		{"\"\"", TEXT("")},
		{"\"plain\"", TEXT("plain")},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t")},
		{"\"a\\u0000b\"", TEXT("a\0b")},
		{"\"\\u0041\\u00e9\\u00E9\\u20ac\\uffff\"",
		 TEXT("A\xC3\xA9\xC3\xA9\xE2\x82\xAC\xEF\xBF\xBF")},
		{"\"\\ud83d\\ude00\"", TEXT("\xF0\x9F\x98\x80")},
		{"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", TEXT("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF")},
		{"\"\\ud7ff\\ue000\"", TEXT("\xED\x9F\xBF\xEE\x80\x80")},
		{"\"caf\xC3\xA9 \xF0\x9F\x98\x80\\n\"", TEXT("caf\xC3\xA9 \xF0\x9F\x98\x80\n")},
		{"\"\\\\u0041\"", TEXT("\\u0041")},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy, *out = xreallocarray(NULL, cases[i].len, 1);
		struct json_value value = string_value(cases[i].literal, &copy);
		size_t len = 999;

		assert_true(json_string_decode(value, out, cases[i].len, &len));
		assert_int_equal(len, cases[i].len);
		assert_memory_equal(out, cases[i].bytes, len);
		len = 999;
		if (cases[i].len > 0) /* one byte too few */
			assert_false(json_string_decode(value, out, cases[i].len - 1, &len));
		else
			len = 999;
		assert_int_equal(len, 999);
		free(out);
		free(copy);
	}
}

static void a_lone_surrogate_is_not_decoded(void **state)
{
	(void)state;
	static const char *const literals[] = {
		"\"\\ud800\"",		"\"\\udfff\"",	     "\"\\udc00\\ud800\"",
		"\"\\ud83dx\"",		"\"\\ud83d\\n\"",    "\"\\ud83d\\u0041\"",
		"\"\\ud83d\\ud83d\"",	"\"a\\ud83d\"",	     "\"\\ud83d\\ude00\\ude00\"",
		"\"\\ud83d\\\\ude00\"", "\"\\ud83dxxdc00\"", "\"\\ud83d\\ndc00\"",
	};

	for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
		char out[64], *copy;
		struct json_value value = string_value(literals[i], &copy);
		size_t len = 999;

		assert_false(json_string_decode(value, out, sizeof(out), &len));
		assert_int_equal(len, 999);
		assert_false(json_string_is(value, "a"));
		free(copy);
	}
}

static void only_a_string_is_a_string(void **state)
{
	(void)state;
	static const struct json_value others[] = {
		{JSON_ABSENT, NULL, 0},	   {JSON_NULL, "null", 4},     {JSON_TRUE, "true", 4},
		{JSON_NUMBER, "12345", 5}, {JSON_ARRAY, "[\"a\"]", 5}, {JSON_OBJECT, "{}", 2},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		char out[16];
		size_t len;
		int64_t number;

		assert_false(json_string_decode(others[i], out, sizeof(out), &len));
		assert_false(json_string_is(others[i], ""));
		assert_false(json_string_is(others[i], "null"));
		if (others[i].kind != JSON_NUMBER)
			assert_false(json_int64(others[i], &number));
	}
}

static void a_string_is_just_these_bytes(void **state)
{
	(void)state;
	static const struct {
		const char *literal, *plain;
		bool same;
	} cases[] = {
		{"\"\"", "", true},
		{"\"auth\"", "auth", true},
		{"\"\\u0061ut\\u0068\"", "auth", true},
		{"\"auth\"", "aut", false},
		{"\"aut\"", "auth", false},
		{"\"Auth\"", "auth", false},
		{"\"auth\\u0000\"", "auth", false},
		{"\"\\u0000\"", "", false},
		{"\"\xC3\xA9\"", "\xC3\xA9", true},
		{"\"\\u00e9\"", "\xC3\xA9", true},
		{"\"\\n\"", "n", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy;
		struct json_value value = string_value(cases[i].literal, &copy);

		assert_int_equal(json_string_is(value, cases[i].plain), cases[i].same);
		free(copy);
	}
}

static void a_number_is_an_integer_only_when_written_as_one(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		int64_t number;
	} cases[] = {
		{"0", true, 0},
		{"-0", true, 0},
		{"1", true, 1},
		{"-12", true, -12},
		{"9007199254740993", true, INT64_C(9007199254740993)},
		{"9223372036854775807", true, INT64_MAX},
		{"-9223372036854775808", true, INT64_MIN},
		{"9223372036854775808", false, 0},
		{"-9223372036854775809", false, 0},
		{"92233720368547758070", false, 0},
		{"18446744073709551616", false, 0},
		{"100000000000000000000000000000000000000", false, 0},
		{"1.0", false, 0},
		{"1e3", false, 0},
		{"1E0", false, 0},
		{"0.5", false, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_value value = {JSON_NUMBER, cases[i].text, strlen(cases[i].text)};
		int64_t number = 77;

		assert_int_equal(json_int64(value, &number), cases[i].good);
		assert_int_equal(number, cases[i].good ? cases[i].number : 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_is_the_bytes_as_they_stand),
		cmocka_unit_test(a_member_that_is_not_there_is_absent),
		cmocka_unit_test(a_name_with_a_lone_surrogate_is_nobodys_however_long_it_is),
		cmocka_unit_test(many_members_are_found_in_any_order),
		cmocka_unit_test(a_string_is_decoded),
		cmocka_unit_test(a_lone_surrogate_is_not_decoded),
		cmocka_unit_test(only_a_string_is_a_string),
		cmocka_unit_test(a_string_is_just_these_bytes),
		cmocka_unit_test(a_number_is_an_integer_only_when_written_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
