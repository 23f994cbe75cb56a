/*
 * YAML that is more or less than lines of the form key: value. Each text is an error with its line,
 * never a crash, and reading goes on where it can; and how findings come.
 */
#include <unistd.h>

#include "tests/unit/shared/config/config_fixture.h"

#define ANCHOR "anchors are not supported: put a value that begins with & in quotes"
#define ALIAS "aliases are not supported: put a value that begins with * in quotes"
#define TAG "tags are not supported: put a value that begins with ! in quotes"
#define MISSING "worker_secret: missing, expected at least 32 characters"
#define NO_MAPPING "expected lines of the form key: value"
#define DEEP "nested more than 16 deep"
#define QUOTES " (put a value with special characters in quotes)"

static const struct {
	const char *text;
	size_t len;
	size_t line;
	const char *message; /* the first */
} faults[] = {
	{BYTES(""), 1, MISSING},
	{BYTES("# nothing\n"), 1, MISSING},
	{BYTES("---\n"), 1, MISSING},
	{BYTES("{}\n"), 1, MISSING},
	{BYTES("- a\n"), 1, NO_MAPPING},
	{BYTES("\nword\n"), 2, NO_MAPPING},
	{BYTES("worker_secret:" SECRET "\n"), 1, NO_MAPPING},
	{BYTES(SECRET_LINE "\tws_port: 1\n"), 2, "the line begins with a tab: YAML takes spaces"},
	{BYTES(SECRET_LINE "ws_port:\n \t- 1\n"), 3,
	 "the line begins with a tab: YAML takes spaces"},
	{BYTES(SECRET_LINE "ws_port: 1\n\nws_port: 2\n"), 4,
	 "ws_port: duplicate key, first on line 2"},
	{BYTES(SECRET_LINE "'ws_port': 1\nws_port: 1\n"), 3,
	 "ws_port: duplicate key, first on line 2"},
	{BYTES(SECRET_LINE SECRET_LINE), 2, "worker_secret: duplicate key, first on line 1"},
	{BYTES(SECRET_LINE "ws_bind: &a 127.0.0.1\n"), 2, ANCHOR},
	{BYTES(SECRET_LINE "&a ws_port: 1\n"), 2, ANCHOR},
	{BYTES(SECRET_LINE "trusted_proxies: &a []\n"), 2, ANCHOR},
	{BYTES(SECRET_LINE "trusted_proxies:\n- &a ::1\n"), 3, ANCHOR},
	{BYTES("&a\n" SECRET_LINE), 1, ANCHOR},
	{BYTES("worker_secret: &" SECRET "\n"), 1, ANCHOR},
	{BYTES(SECRET_LINE "ws_bind: *a\n"), 2, ALIAS},
	{BYTES(SECRET_LINE "*a : 1\n"), 2, ALIAS},
	{BYTES(SECRET_LINE "trusted_proxies: [*a]\n"), 2, ALIAS},
	{BYTES("*a\n"), 1, ALIAS},
	{BYTES(SECRET_LINE "ws_port: !!int 80\n"), 2, TAG},
	{BYTES(SECRET_LINE "ws_bind: !x ''\n"), 2, TAG},
	{BYTES(SECRET_LINE "---\nws_port: 1\n"), 2,
	 "a second document begins here: there must be one only"},
	{BYTES(SECRET_LINE "...\n---\n"), 3,
	 "a second document begins here: there must be one only"},
	{BYTES(SECRET_LINE "? [a]\n: 1\n"), 2, "expected a key, a plain text"},
	{BYTES(SECRET_LINE "? {a: b}\n: {c: [d]}\n"), 2, "expected a key, a plain text"},
	{BYTES(SECRET_LINE "a\0b: 1\n"), 2, "not YAML: control characters are not allowed"},
	{BYTES(SECRET_LINE "a: \x1B[31m\n"), 2, "not YAML: control characters are not allowed"},
	{BYTES("\x7F"
	       "ELF\x02\x01\x01\0\0\0"),
	 1, "not YAML: control characters are not allowed"},
	{BYTES(SECRET_LINE "\n# \xFF\n"), 3, "not YAML: invalid leading UTF-8 octet"},
	{BYTES(SECRET_LINE "a: \xC3\x28\n"), 2, "not YAML: invalid trailing UTF-8 octet"},
	{BYTES(SECRET_LINE "a: \xC0\x80\n"), 2, "not YAML: invalid length of a UTF-8 sequence"},
	{BYTES(SECRET_LINE "a: \xED\xA0\x80\n"), 2, "not YAML: invalid Unicode character"},
	{BYTES(SECRET_LINE "a: \xE2\x82"), 2, "not YAML: incomplete UTF-8 octet sequence"},
	{BYTES("\xFF\xFEw\0"), 1, "not YAML: invalid leading UTF-8 octet"},
	{BYTES(SECRET_LINE "ws_bind: \"x\nws_port: 1\n"), 3,
	 "not YAML: found unexpected end of stream, while scanning a quoted scalar from line 2"},
	{BYTES("worker_secret: @x\n"), 1,
	 "not YAML: found character that cannot start any token" QUOTES},
	{BYTES(SECRET_LINE "ws_bind: \"\\q\"\n"), 2,
	 "not YAML: found unknown escape character" QUOTES},
	{BYTES(SECRET_LINE "trusted_proxies: [\n"), 2,
	 "not YAML: did not find expected node content, while parsing a flow node"},
	{BYTES("%YAML 3.0\n---\n" SECRET_LINE), 1, "not YAML: found incompatible YAML document"},
	{BYTES(SECRET_LINE "a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n"), 2, DEEP},
};

static void what_is_no_flat_mapping_is_an_error_with_its_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (parse(faults[i].text, faults[i].len))
			fail_msg("%s is taken", faults[i].text);
		size_t first = found[0].is_error ? 0 : 1; /* an unknown key before it */
		assert_found(first, true, faults[i].line, faults[i].message);
	}
}

static void other_ways_to_write_a_mapping_are_good(void **state)
{
	static const char *const good_texts[] = {
		"---\n" SECRET_LINE "...\n",
		"%YAML 1.2\n---\n" SECRET_LINE,
		"\xEF\xBB\xBF" SECRET_LINE,
		"{ \"worker_secret\": \"" SECRET "\", \"ws_port\": 80 }",
		"# comment\n\n  worker_secret: " SECRET "\n",
		"worker_secret:\n  " SECRET,
		"worker_secret: \"" SECRET "\"\r\nws_port: 80\r\n",
		"? worker_secret\n: " SECRET "\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++) {
		struct config *config = parse(good_texts[i], strlen(good_texts[i]));

		assert_string_equal(found_count > 0 ? found[0].message : "", "");
		assert_non_null(config);
		assert_string_equal(config->worker_secret, SECRET);
		config_free(config);
	}
}

static void reading_goes_on_behind_what_is_not_supported(void **state)
{
	static const char text[] = "ws_bind: &a 127.0.0.1\n"
				   "internal_bind: *a\n"
				   "? [a, {b: c}]\n"
				   ": [d]\n"
				   "ws_port:\n"
				   "  tcp: [1, 2]\n"
				   "trusted_proxies: [10.0.0.1, [10.0.0.2]]\n"
				   "topic_ttl: 0\n";

	(void)state;
	assert_null(parse(text, strlen(text)));
	assert_found(0, true, 1, ANCHOR);
	assert_found(1, true, 2, ALIAS);
	assert_found(2, true, 3, "expected a key, a plain text");
	assert_found(3, true, 5,
		     "ws_port: expected a whole number from 1 to 65535, not nested values");
	assert_int_equal(found[4].line, 7);
	assert_int_equal(found[5].line, 8);
	assert_found(6, true, 1, MISSING);
	assert_int_equal(found_count, 7);
}

static void behind_broken_grammar_nothing_is_said_to_be_missing(void **state)
{
	(void)state;
	assert_null(parse(BYTES("ws_port: 1\nws_bind: \"\n")));
	assert_int_equal(found_count, 1);
}

/* A text that a parser with a stack or a square in it does not survive: the alarm ends the program.
 */
static void repeat_to_the_limit(const char *start, const char *piece)
{
	char *text = malloc(CONFIG_MAX_BYTES);
	size_t used = strlen(start);
	size_t len = strlen(piece);

	memcpy(text, start, used);
	for (; used + len <= CONFIG_MAX_BYTES; used += len)
		memcpy(text + used, piece, len);
	alarm(60);
	assert_null(parse(text, used));
	alarm(0);
	free(text);
}

static void a_text_made_to_be_slow_is_not(void **state)
{
	(void)state;
	repeat_to_the_limit("a: ", "[");
	assert_found(0, true, 1, DEEP);
	repeat_to_the_limit("a: ", "{b: ");
	assert_found(0, true, 1, DEEP);
	repeat_to_the_limit("", "- ");
	repeat_to_the_limit("", "? ");
	repeat_to_the_limit("trusted_proxies:\n", "- ::1\n");
	repeat_to_the_limit("trusted_proxies: ", "::1,");
	repeat_to_the_limit("a: [", "!b &c d,");
	repeat_to_the_limit("", "a: b\n");
	assert_found(CONFIG_MAX_FINDINGS, true, CONFIG_MAX_FINDINGS + 1,
		     "more than 100 findings: the rest is not shown");
	assert_int_equal(found_count, CONFIG_MAX_FINDINGS + 1);
}

static void every_fault_is_reported_in_the_order_of_the_file(void **state)
{
	static const char text[] = "ws_port: 0\n"
				   "ws-port: 80\n"
				   "worker_secret: " SECRET "\n"
				   "state_dir: x\n"
				   "ws_port: 1\n"
				   "trusted_proxies:\n"
				   "  - 10.0.0.1\n"
				   "  - 10.0.0.x\n"
				   "  - 10.0.0.y\n";

	(void)state;
	assert_null(parse(text, strlen(text)));
	assert_found(0, true, 1, "ws_port: expected a whole number from 1 to 65535");
	assert_found(1, false, 2, "unknown key ws-port");
	assert_found(2, true, 4, "state_dir: expected an absolute path");
	assert_found(3, true, 5, "ws_port: duplicate key, first on line 1");
	assert_int_equal(found[4].line, 8);
	assert_int_equal(found[5].line, 9);
	assert_int_equal(found_count, 6);
}

static void findings_end_with_their_limit(void **state)
{
	static char text[4096] = SECRET_LINE "trusted_proxies:\n";
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < CONFIG_MAX_FINDINGS + 100; i++, used += 4)
		memcpy(text + used, "- x\n", 4);
	assert_null(parse(text, used));
	assert_found(CONFIG_MAX_FINDINGS, true, CONFIG_MAX_FINDINGS + 3,
		     "more than 100 findings: the rest is not shown");
	assert_int_equal(found_count, CONFIG_MAX_FINDINGS + 1);
}

static void unknown_keys_are_warnings_and_errors_when_given_twice(void **state)
{
	static const char text[] = SECRET_LINE "made_up: {a: [1, 2]}\nother:\nmade_up: 2\n";
	struct config *config = parse(text, strlen(text) - strlen("made_up: 2\n"));

	(void)state;
	assert_non_null(config);
	assert_found(0, false, 2, "unknown key made_up");
	assert_found(1, false, 3, "unknown key other");
	assert_int_equal(found_count, 2);
	config_free(config);
	assert_null(parse(text, strlen(text)));
	assert_found(2, true, 4, "made_up: duplicate key, first on line 2");
}

static void the_name_of_an_unknown_key_is_shown_when_it_cannot_be_a_secret(void **state)
{
	static const struct {
		const char *key;
		bool shown;
	} keys[] = {
		{"a-key.of_31_characters_00000000", true},
		{"a-key.of_32_characters_000000000", false},
		{"\"a\\x1Bb\"", false},
		{"\"a\\nb\"", false},
		{"\"a\\0b\"", false},
		{"\"\"", false},
		{"\xC3\xA9", false},
		{"{worker_secret:short}", false}, /* a space is missing */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		bool is_flow = keys[i].key[0] == '{';
		char text[128];
		int len = snprintf(text, sizeof(text), "%s%s", keys[i].key, is_flow ? "" : ": 1\n");

		assert_null(parse(text, (size_t)len)); /* there is no secret */
		assert_false(found[0].is_error);
		if ((strstr(found[0].message, keys[i].key) != NULL) != keys[i].shown)
			fail_msg("%s: %s", keys[i].key, found[0].message);
		assert_non_null(strstr(found[0].message, "unknown key"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_flat_mapping_is_an_error_with_its_line),
		cmocka_unit_test(other_ways_to_write_a_mapping_are_good),
		cmocka_unit_test(reading_goes_on_behind_what_is_not_supported),
		cmocka_unit_test(behind_broken_grammar_nothing_is_said_to_be_missing),
		cmocka_unit_test(a_text_made_to_be_slow_is_not),
		cmocka_unit_test(every_fault_is_reported_in_the_order_of_the_file),
		cmocka_unit_test(findings_end_with_their_limit),
		cmocka_unit_test(unknown_keys_are_warnings_and_errors_when_given_twice),
		cmocka_unit_test(the_name_of_an_unknown_key_is_shown_when_it_cannot_be_a_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
