/*
 * Strict JSON: what is said of a text that is refused, and where in it: invalid UTF-8, texts cut
 * short, and nesting that is too deep.
 */
#include "tests/unit/shared/json/json_fixture.h"

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
		cmocka_unit_test(invalid_utf8_is_refused_wherever_it_stands),
		cmocka_unit_test(no_part_of_a_text_is_a_text),
		cmocka_unit_test(a_fault_is_named_and_located),
		cmocka_unit_test(nesting_has_a_limit_and_no_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
