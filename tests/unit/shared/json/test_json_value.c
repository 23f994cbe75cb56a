/*
 * What a JSON value says: strings decoded, strings compared, integers. Values stand in memory of
 * just their length, so that the build with sanitizers finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/json/json.h"

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
		cmocka_unit_test(a_string_is_decoded),
		cmocka_unit_test(a_lone_surrogate_is_not_decoded),
		cmocka_unit_test(only_a_string_is_a_string),
		cmocka_unit_test(a_string_is_just_these_bytes),
		cmocka_unit_test(a_number_is_an_integer_only_when_written_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
