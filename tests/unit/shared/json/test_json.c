/*
 * Strict JSON: the grammar of RFC 8259 in tables, in the spirit of JSONTestSuite, and each byte of
 * a string and of an escape; what is said of a text that is refused, and where in it. Each text is
 * copied to memory of just its length, so that the build with sanitizers finds a byte read too
 * many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/json/json.h"

struct text {
	const char *bytes;
	size_t len;
};

/* Without braces of its own: clang-format would take them for a block. */
#define TEXT(literal) literal, sizeof(literal) - 1

/* What json_object_members says of the text, with no member asked for. */
static const char *fault_of(const char *bytes, size_t len, size_t *error_at)
{
	char *copy = xreallocarray(NULL, len, 1);
	const char *fault;

	memcpy(copy, bytes, len);
	fault = json_object_members(copy, len, NULL, 0, error_at);
	free(copy);
	return fault;
}

/* A good text that is no object is good JSON all the same. */
static bool is_json(const char *bytes, size_t len)
{
	size_t error_at;
	const char *fault = fault_of(bytes, len, &error_at);

	return !fault || strcmp(fault, "not an object") == 0;
}

static void expect_all(const struct text *texts, size_t count, bool accepted)
{
	for (size_t i = 0; i < count; i++) {
		if (is_json(texts[i].bytes, texts[i].len) != accepted)
			fail_msg("%s: %.*s", accepted ? "refused" : "accepted", (int)texts[i].len,
				 texts[i].bytes);
	}
}

#define EXPECT_ALL(texts, accepted)                                                                \
	expect_all((texts), sizeof(texts) / sizeof((texts)[0]), (accepted))

static void what_the_grammar_allows_is_accepted(void **state)
{
	(void)state;
	static const struct text texts[] = {
		{TEXT("{}")},
		{TEXT("[]")},
		{TEXT(" \t\r\n{ \n} \r\t")},
		{TEXT("null")},
		{TEXT("true")},
		{TEXT("false")},
		{TEXT("0")},
		{TEXT("-0")},
		{TEXT("-1")},
		{TEXT("10")},
		{TEXT("0.0")},
		{TEXT("-0.10")},
		{TEXT("0e0")},
		{TEXT("0E+00")},
		{TEXT("1e-9999999")},
		{TEXT("1E99999999999999999999")},
		{TEXT("123456789012345678901234567890.000000000000001e+5")},
		{TEXT("\"\"")},
		{TEXT("\" \"")},
		{TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")},
		{TEXT("\"\\u0000\\u0041\\uABCD\\uabcd\"")},
		{TEXT("\"\\ud83d\\ude00\"")},
		{TEXT("\"\\ud800\"")}, /* lone surrogates are grammar */
		{TEXT("\"\\udc00\\ud800\"")},
		{TEXT("\"\\ud800x\\uD800\"")},
		{TEXT("\"a\x7F"
		      "b\"")}, /* DEL is no control character here */
		{TEXT("\"\xC2\x80\xDF\xBF\"")},
		{TEXT("\"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\"")},
		{TEXT("\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"")},
		{TEXT("\"\xE2\x80\xA8\xE2\x80\xA9\xEF\xBB\xBF\"")}, /* U+2028, U+2029, U+FEFF */
		{TEXT("{\"\":0}")},
		{TEXT("{\"a\":1,\"a\":2}")},
		{TEXT("{\"a\\u0000b\":[{},[[]],{\"\":{}}]}")},
		{TEXT("[1,2 , 3\n,\t4]")},
		{TEXT("[[[[[[]]]]],{\"a\":[{}]}]")},
		{TEXT("[true,false,null,\"\",0,{},[]]")},
	};

	EXPECT_ALL(texts, true);
}

static const struct text forbidden[] = {
	{TEXT("")},
	{TEXT(" ")},
	{TEXT("{")},
	{TEXT("}")},
	{TEXT("[")},
	{TEXT("]")},
	{TEXT("{]")},
	{TEXT("[}")},
	{TEXT("[[]")},
	{TEXT("[]]")},
	{TEXT("{}}")},
	{TEXT("{\"a\":{}")},
	{TEXT("{\"a\":[}")},
	{TEXT("{\"a\":1]")},
	{TEXT("[1}")},
	{TEXT("[[1}]")},
	{TEXT("{\"a\":{\"b\":1]}")},
	{TEXT("[{\"a\":1]}")},
	{TEXT("[{]}")},
	/* commas and colons */
	{TEXT("[1,]")},
	{TEXT("[,1]")},
	{TEXT("[1,,2]")},
	{TEXT("[1 2]")},
	{TEXT("[\"a\" \"b\"]")},
	{TEXT("[1:2]")},
	{TEXT("[,]")},
	{TEXT(",")},
	{TEXT(":")},
	{TEXT("{,}")},
	{TEXT("{\"a\":1,}")},
	{TEXT("{,\"a\":1}")},
	{TEXT("{\"a\":1,,\"b\":2}")},
	{TEXT("{\"a\":1 \"b\":2}")},
	{TEXT("{\"a\"}")},
	{TEXT("{\"a\":}")},
	{TEXT("{\"a\" 1}")},
	{TEXT("{\"a\"::1}")},
	{TEXT("{\"a\":1:2}")},
	{TEXT("{:1}")},
	{TEXT("{1:1}")},
	{TEXT("{null:1}")},
	{TEXT("{[]:1}")},
	{TEXT("{a:1}")},
	{TEXT("{'a':1}")},
	{TEXT("{\"a\",\"b\"}")},
	{TEXT("{\"a\":1;\"b\":2}")},
	/* more than one value, comments */
	{TEXT("{}{}")},
	{TEXT("{} x")},
	{TEXT("1 2")},
	{TEXT("1,2")},
	{TEXT("{},")},
	{TEXT("{}//")},
	{TEXT("{}/**/")},
	{TEXT("/**/{}")},
	{TEXT("#\n{}")},
	{TEXT("{}\0")},
	{TEXT("\0{}")},
	/* words */
	{TEXT("nul")},
	{TEXT("nulll")},
	{TEXT("Null")},
	{TEXT("TRUE")},
	{TEXT("truE")},
	{TEXT("fals")},
	{TEXT("True")},
	{TEXT("undefined")},
	{TEXT("NaN")},
	{TEXT("nan")},
	{TEXT("Infinity")},
	{TEXT("-Infinity")},
	{TEXT("inf")},
	{TEXT("[tru]")},
	{TEXT("[truefalse]")},
	/* numbers */
	{TEXT("00")},
	{TEXT("01")},
	{TEXT("-01")},
	{TEXT("-")},
	{TEXT("--1")},
	{TEXT("+1")},
	{TEXT("-a")},
	{TEXT("- 1")},
	{TEXT(".5")},
	{TEXT("-.5")},
	{TEXT("5.")},
	{TEXT("5.e1")},
	{TEXT("0.e1")},
	{TEXT("1e")},
	{TEXT("1e+")},
	{TEXT("1e-")},
	{TEXT("1eE2")},
	{TEXT("1e1.5")},
	{TEXT("1e+-1")},
	{TEXT("1.2.3")},
	{TEXT("1..2")},
	{TEXT("0x10")},
	{TEXT("0b1")},
	{TEXT("1_000")},
	{TEXT("1 000")},
	{TEXT("1,5e")},
	{TEXT("1a")},
	{TEXT("[1+2]")},
	{TEXT("\xEF\xBC\x91")}, /* a fullwidth digit */
	{TEXT("[-]")},
	{TEXT("[0.]")},
	/* strings */
	{TEXT("\"")},
	{TEXT("\"a")},
	{TEXT("\"\\\"")},
	{TEXT("'a'")},
	{TEXT("'a\"")},
	{TEXT("{'a\":1}")},
	{TEXT("`a`")},
	{TEXT("\"a\"b\"")},
	{TEXT("\"\\\"")},
	{TEXT("\"\\")},
	{TEXT("\"\\a\"")},
	{TEXT("\"\\0\"")},
	{TEXT("\"\\'\"")},
	{TEXT("\"\\x41\"")},
	{TEXT("\"\\U0041\"")},
	{TEXT("\"\\u\"")},
	{TEXT("\"\\u004\"")},
	{TEXT("\"\\u00g0\"")},
	{TEXT("\"\\u 041\"")},
	{TEXT("\"\\u+041\"")},
	{TEXT("\"\\u{41}\"")},
	{TEXT("\"\\u00")},
	{TEXT("\"\\ \"")},
	{TEXT("\"\\\n\"")},
	{TEXT("\"\\\xC3\xA9\"")},
	{TEXT("\"a\0b\"")},
	{TEXT("\"a\nb\"")},
	{TEXT("\"a\tb\"")},
	{TEXT("\"\x1F\"")},
	{TEXT("{\"a\n\":1}")},
	{TEXT("{\"\\x\":1}")},
	/* white space that is none */
	{TEXT("\f{}")},
	{TEXT("{}\v")},
	{TEXT("[\xC2\xA0]")},
	{TEXT("[\xE2\x80\xA8]")},
	{TEXT("[1,\xEF\xBB\xBF 2]")},
};

static void what_the_grammar_forbids_is_refused(void **state)
{
	(void)state;
	EXPECT_ALL(forbidden, false);
}

static void every_byte_of_a_string_is_looked_at(void **state)
{
	(void)state;
	/* At each distance from the ends: strings are skipped eight bytes at a time. */
	for (size_t before = 0; before < 18; before++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			char text[64] = "{\"a\":\"..................";
			size_t at = 6 + before;
			bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

			text[at] = (char)byte;
			memcpy(text + at + 1, "456789ab\"}", 10);
			if (is_json(text, at + 11) != plain)
				fail_msg("byte 0x%02X behind %zu others", byte, before);
		}
	}
}

static void every_letter_of_an_escape_is_known(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		char text[] = "\"\\?\"";
		char unicode[] = "\"\\u000?\"";
		bool hex = byte && strchr("0123456789abcdefABCDEF", (int)byte);

		text[2] = (char)byte;
		assert_int_equal(is_json(text, 4), byte && strchr("\"\\/bfnrt", (int)byte));
		unicode[6] = (char)byte;
		assert_int_equal(is_json(unicode, 8), hex);
	}
}

static void invalid_utf8_is_refused_wherever_it_stands(void **state)
{
	(void)state;
	static const struct text broken[] = {
		{TEXT("\x80")}, /* a continuation that continues nothing */
		{TEXT("\xBF")},
		{TEXT("\xC0\x80")}, /* overlong */
		{TEXT("\xC0\xAF")},
		{TEXT("\xC1\xBF")},
		{TEXT("\xE0\x80\x80")},
		{TEXT("\xE0\x9F\xBF")},
		{TEXT("\xF0\x80\x80\x80")},
		{TEXT("\xF0\x8F\xBF\xBF")},
		{TEXT("\xED\xA0\x80")}, /* surrogates */
		{TEXT("\xED\xBF\xBF")},
		{TEXT("\xED\xA0\xBD\xED\xB8\x80")},
		{TEXT("\xF4\x90\x80\x80")}, /* above U+10FFFF */
		{TEXT("\xF5\x80\x80\x80")},
		{TEXT("\xF8\x88\x80\x80\x80")},
		{TEXT("\xFE")},
		{TEXT("\xFF")},
		{TEXT("\xC3")}, /* cut short */
		{TEXT("\xE2\x82")},
		{TEXT("\xF0\x9F\x98")},
		{TEXT("\xE2\x82\xC3\xA9")},
		{TEXT("\xC3\xC3\xA9")},
		{TEXT("\xE9")}, /* Latin-1 */
	};
	static const struct {
		const char *before, *behind;
	} places[] = {
		{"\"", "\""},	  {"\"\xC3\xA9", "abcdefgh\""}, {"{\"a\":\"", "\"}"},
		{"{\"", "\":1}"}, {"[[\"12345678", "\"]]"},	{"[\"a\\n", "\xC3\xA9\"]"},
	};

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		for (size_t j = 0; j < sizeof(places) / sizeof(places[0]); j++) {
			char text[64];
			size_t error_at;
			size_t before = strlen(places[j].before), behind = strlen(places[j].behind);
			size_t len = before + broken[i].len + behind;

			memcpy(text, places[j].before, before);
			memcpy(text + before, broken[i].bytes, broken[i].len);
			memcpy(text + before + broken[i].len, places[j].behind, behind);
			assert_string_equal(fault_of(text, len, &error_at), "invalid UTF-8");
			assert_in_range(error_at, before, before + broken[i].len - 1);
			/* The text ends in the middle of the character. */
			assert_non_null(fault_of(text, before + broken[i].len, &error_at));
		}
	}
}

static void no_part_of_a_text_is_a_text(void **state)
{
	(void)state;
	static const char text[] = "{\"a\":[1,-2.5e+3,true,false,null,\"x\\u00e9\\\\ "
				   "\xE2\x82\xAC\",{}], \"b\" : {\"c\":[[],0]}}";
	size_t error_at;

	assert_null(fault_of(text, sizeof(text) - 1, &error_at));
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		assert_non_null(fault_of(text, len, &error_at));
		assert_in_range(error_at, 0, len);
		/* Nor without its beginning. */
		assert_non_null(fault_of(text + 1 + len, sizeof(text) - 2 - len, &error_at));
	}
}

static void a_fault_is_named_and_located(void **state)
{
	(void)state;
	static const struct {
		const char *text, *fault;
		size_t error_at;
	} cases[] = {
		{"", "unexpected end", 0},
		{"  ", "unexpected end", 2},
		{"{\"a\":1", "unexpected end", 6},
		{"{\"a\":\"x", "unexpected end", 7},
		{"{\"a\":\"\\u00", "unexpected end", 10},
		{"{\"a\":01}", "unexpected character", 6},
		{"{\"a\":1,}", "unexpected character", 7},
		{"{\"a\":nulx}", "unexpected character", 8},
		{"{\"a\":\"\\x\"}", "bad escape in a string", 7},
		{"{\"a\":\"\\u00x0\"}", "bad escape in a string", 10},
		{"{\"a\":\"\n\"}", "control character in a string", 6},
		{"{\"a\":\"\xFF\"}", "invalid UTF-8", 6},
		{"{} {}", "more text after the value", 3},
		{"\xEF\xBB\xBF{}", "byte order mark", 0},
		{" [1]", "not an object", 1},
		{"\"{}\"", "not an object", 0},
		{"null", "not an object", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t error_at;

		assert_string_equal(fault_of(cases[i].text, strlen(cases[i].text), &error_at),
				    cases[i].fault);
		assert_int_equal(error_at, cases[i].error_at);
	}
}

/* `depth` brackets, closed again when asked. */
static bool nested_is_json(size_t depth, const char *opening, const char *closing, bool closed)
{
	size_t open_len = strlen(opening), close_len = strlen(closing);
	char *text = xreallocarray(NULL, depth, open_len + close_len);
	size_t len = 0;

	for (size_t i = 0; i < depth; i++, len += open_len)
		memcpy(text + len, opening, open_len);
	for (size_t i = 0; closed && i < depth; i++, len += close_len)
		memcpy(text + len, closing, close_len);
	bool accepted = is_json(text, len);
	free(text);
	return accepted;
}

static void nesting_has_a_limit_and_no_cost(void **state)
{
	(void)state;
	static const char *const opening[] = {"[", "[0,", "{\"a\":", "{\"a\":["};

	assert_true(nested_is_json(500, "[", "]", true));
	assert_true(nested_is_json(JSON_MAX_DEPTH, "[", "]", true));
	assert_false(nested_is_json(JSON_MAX_DEPTH + 1, "[", "]", true));
	assert_true(nested_is_json(JSON_MAX_DEPTH / 2, "{\"a\":[", "]}", true));
	assert_false(nested_is_json(JSON_MAX_DEPTH / 2 + 1, "{\"a\":[", "]}", true));
	assert_false(nested_is_json(200000, "[", "]", true));
	assert_false(nested_is_json(200000, "{\"a\":[", "]}", true));
	for (size_t i = 0; i < sizeof(opening) / sizeof(opening[0]); i++)
		assert_false(nested_is_json(200000, opening[i], "", false));
	/* Brackets must fit their partners at every depth. */
	assert_false(nested_is_json(JSON_MAX_DEPTH, "[", "}", true));
	assert_false(nested_is_json(JSON_MAX_DEPTH / 2, "{\"a\":[", "}]", true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_grammar_allows_is_accepted),
		cmocka_unit_test(what_the_grammar_forbids_is_refused),
		cmocka_unit_test(every_byte_of_a_string_is_looked_at),
		cmocka_unit_test(every_letter_of_an_escape_is_known),
		cmocka_unit_test(invalid_utf8_is_refused_wherever_it_stands),
		cmocka_unit_test(no_part_of_a_text_is_a_text),
		cmocka_unit_test(a_fault_is_named_and_located),
		cmocka_unit_test(nesting_has_a_limit_and_no_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
