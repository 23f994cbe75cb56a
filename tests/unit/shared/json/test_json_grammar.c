/*
 * Strict JSON: the grammar of RFC 8259 in tables, in the spirit of JSONTestSuite, and each byte of
 * a string and of an escape.
 */
#include "tests/unit/shared/json/json_fixture.h"

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

static void what_the_grammar_forbids_is_refused(void **state)
{
	(void)state;
	static const struct text texts[] = {
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

	EXPECT_ALL(texts, false);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_grammar_allows_is_accepted),
		cmocka_unit_test(what_the_grammar_forbids_is_refused),
		cmocka_unit_test(every_byte_of_a_string_is_looked_at),
		cmocka_unit_test(every_letter_of_an_escape_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
