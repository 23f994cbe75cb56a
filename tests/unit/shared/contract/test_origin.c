/*
 * Web origins: the spellings of one, what is none, and lists of them. Read from memory of just
 * their length, so that the build with sanitizers finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/contract/origin.h"

static char normal[ORIGIN_SIZE];

static bool normalise(const char *text, size_t len)
{
	char *exact = xreallocarray(NULL, len, 1);

	if (len > 0)
		memcpy(exact, text, len);
	memset(normal, 'x', sizeof(normal));
	bool good = origin_normalise(exact, len, false, normal);
	free(exact);
	return good;
}

static void every_spelling_of_an_origin_has_one_form(void **state)
{
	static const char *const spellings[][2] = {
		{"https://example.org", "https://example.org"},
		{"HTTPS://Example.ORG", "https://example.org"},
		{"https://example.org:443", "https://example.org"},
		{"http://example.org:80", "http://example.org"},
		{"http://example.org:443", "http://example.org:443"},
		{"https://example.org:80", "https://example.org:80"},
		{"https://example.org:8443", "https://example.org:8443"},
		{"https://example.org:4430", "https://example.org:4430"},
		{"wss://example.org:443", "wss://example.org"},
		{"ws://example.org:80", "ws://example.org"},
		{"http://localhost:1", "http://localhost:1"},
		{"http://localhost:65535", "http://localhost:65535"},
		{"http://192.0.2.1", "http://192.0.2.1"},
		{"http://[2001:DB8::1]", "http://[2001:db8::1]"},
		{"http://[::1]:80", "http://[::1]"},
		{"http://[::1]:81", "http://[::1]:81"},
		{"https://xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		{"https://a_b-c.example.", "https://a_b-c.example."},
		{"Chrome-Extension://abcdef", "chrome-extension://abcdef"},
		{"app+x.y-1://host:80", "app+x.y-1://host:80"},
		{"x://y", "x://y"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		if (!normalise(spellings[i][0], strlen(spellings[i][0])))
			fail_msg("%s is refused", spellings[i][0]);
		assert_string_equal(normal, spellings[i][1]);
	}
}

static void what_is_no_origin_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"null",
		"*",
		"example.org",
		"example.org:443",
		"//example.org",
		"://example.org",
		"https:",
		"https:/example.org",
		"https://",
		"https:///",
		"https://:443",
		"https://example.org/",
		"https://example.org/path",
		"https://example.org?q",
		"https://example.org#f",
		"https://example.org:",
		"https://example.org:0",
		"https://example.org:0443",
		"https://example.org:65536",
		"https://example.org:4294967739",
		"https://example.org:-1",
		"https://example.org:443x",
		"https://example.org:443:443",
		"https://user@example.org",
		" https://example.org",
		"https://example.org ",
		"https://exa mple.org",
		"https://*.example.org",
		"https://b\xC3\xBC"
		"cher.example",
		"https://a,https://b",
		"http://[]",
		"http://[::1",
		"http://::1",
		"http://[::1]x",
		"http://[g::1]",
		"1http://example.org",
		"+://example.org",
		"file://",
		"https://example.org\r",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (normalise(texts[i], strlen(texts[i])))
			fail_msg("%s is %s", texts[i], normal);
	assert_false(normalise("https://a\0b", 11));
	assert_false(normalise("https://a\0", 10));
	assert_false(normalise("\0", 1));
}

static void every_shorter_piece_of_an_origin_is_another_or_none(void **state)
{
	static const char text[] = "https://[2001:db8::1]:8443";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++)
		if (normalise(text, len))
			assert_string_not_equal(normal, text);
	assert_true(normalise(text, sizeof(text) - 1));
	assert_string_equal(normal, text);
}

/* Scheme, host and port of those lengths. */
static bool normalise_lengths(size_t scheme, size_t host, const char *port)
{
	char text[1024];
	size_t len = 0;

	memset(text, 'x', sizeof(text));
	len = scheme;
	memcpy(text + len, "://", 3);
	len += 3 + host;
	memcpy(text + len, port, strlen(port));
	return normalise(text, len + strlen(port));
}

static void the_longest_one_fits_and_longer_ones_are_refused(void **state)
{
	(void)state;
	assert_true(normalise_lengths(33, 255, ":65535"));
	assert_int_equal(strlen(normal), 33 + 3 + 255 + 6);
	assert_false(normalise_lengths(34, 255, ""));
	assert_false(normalise_lengths(33, 256, ""));
	assert_false(normalise_lengths(33, 255, ":99999999999999999999"));
	assert_false(normalise_lengths(500, 500, ""));
}

static bool is_listed(const char *list, const char *text)
{
	return origin_is_listed(list, text, strlen(text));
}

static void an_origin_is_found_in_any_spelling(void **state)
{
	static const char list[] = "https://a.example,http://b.example:8080,https://c.example";

	(void)state;
	assert_true(is_listed(list, "https://a.example"));
	assert_true(is_listed(list, "https://A.example:443"));
	assert_true(is_listed(list, "HTTP://b.example:8080"));
	assert_true(is_listed(list, "https://c.example"));
	assert_false(is_listed(list, "http://a.example"));
	assert_false(is_listed(list, "http://b.example"));
	assert_false(is_listed(list, "https://a.example:444"));
	assert_false(is_listed(list, "https://a.exampl"));
	assert_false(is_listed(list, "https://a.example.evil.example"));
	assert_false(is_listed(list, "https://x.a.example"));
	assert_false(is_listed(list, "https://a.example/"));
	assert_false(is_listed(list, "null"));
	assert_false(is_listed(list, ""));
	assert_false(is_listed("", "https://a.example"));
	assert_false(origin_is_listed(list, "https://a.example\0", 18));
}

static bool normalise_pattern(const char *text)
{
	return origin_pattern_fault(text, strlen(text), normal) == NULL;
}

static void a_pattern_is_an_origin_whose_host_may_begin_with_a_star(void **state)
{
	static const char *const bad[] = {
		"*",
		"https://*",
		"https://*.",
		"https://*:443",
		"https://*example.org",
		"https://a.*.example.org",
		"https://*.*.example.org",
		"https://**.example.org",
		"*://example.org",
		"https://*.[::1]x",
		"https://*.example.org/",
	};

	(void)state;
	assert_true(normalise_pattern("HTTPS://*.Example.org:443"));
	assert_string_equal(normal, "https://*.example.org");
	assert_true(normalise_pattern("http://*.localhost:8080"));
	assert_string_equal(normal, "http://*.localhost:8080");
	assert_true(normalise_pattern("https://example.org"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (normalise_pattern(bad[i]))
			fail_msg("%s is %s", bad[i], normal);
}

static void a_star_stands_for_one_label_or_more(void **state)
{
	static const char list[] = "https://a.example,https://*.b.example,http://*.c.example:8080";

	(void)state;
	assert_true(is_listed(list, "https://x.b.example"));
	assert_true(is_listed(list, "https://X.Y.b.example:443"));
	assert_true(is_listed(list, "http://x.c.example:8080"));
	assert_true(is_listed(list, "https://a.example"));
	assert_false(is_listed(list, "https://b.example"));
	assert_false(is_listed(list, "https://.b.example"));
	assert_false(is_listed(list, "https://xb.example"));
	assert_false(is_listed(list, "http://x.b.example"));
	assert_false(is_listed(list, "https://x.b.example:8443"));
	assert_false(is_listed(list, "https://x.b.example.evil.example"));
	assert_false(is_listed(list, "https://evil.example/x.b.example"));
	assert_false(is_listed(list, "https://evil.example#.b.example"));
	assert_false(is_listed(list, "http://x.c.example"));
	assert_false(is_listed(list, "https://x.a.example"));
	assert_false(is_listed(list, "https://*.b.example"));
}

static void pages_are_told_by_the_same_rule(void **state)
{
	static const char list[] = "https://a.example,https://*.b.example";
	static const struct {
		const char *list, *origin;
		bool is_allowed;
		const char *head;
	} cases[] = {
		{"", NULL, true, "Access-Control-Allow-Origin: *\r\n"},
		{"", "https://a.example", true, "Access-Control-Allow-Origin: *\r\n"},
		{"", "null", true, "Access-Control-Allow-Origin: *\r\n"},
		{"", "x\r\ny: z", true, "Access-Control-Allow-Origin: *\r\n"},
		{list, NULL, true, "Vary: Origin\r\n"},
		{list, "https://a.example", true,
		 "Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n"},
		{list, "https://A.example:443", true, /* as the page spells it */
		 "Access-Control-Allow-Origin: https://A.example:443\r\nVary: Origin\r\n"},
		{list, "https://x.b.example", true,
		 "Access-Control-Allow-Origin: https://x.b.example\r\nVary: Origin\r\n"},
		{list, "", false, "Vary: Origin\r\n"},
		{list, "null", false, "Vary: Origin\r\n"},
		{list, "https://evil.example", false, "Vary: Origin\r\n"},
		{list, "https://a.example\r\ny: z", false, "Vary: Origin\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *origin = cases[i].origin;
		size_t len = origin ? strlen(origin) : 0;
		char head[ORIGIN_HEAD_SIZE];

		assert_int_equal(origin_is_allowed(cases[i].list, origin, len),
				 cases[i].is_allowed);
		assert_int_equal(origin_head(cases[i].list, origin, len, head),
				 strlen(cases[i].head));
		assert_string_equal(head, cases[i].head);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_spelling_of_an_origin_has_one_form),
		cmocka_unit_test(what_is_no_origin_is_refused),
		cmocka_unit_test(every_shorter_piece_of_an_origin_is_another_or_none),
		cmocka_unit_test(the_longest_one_fits_and_longer_ones_are_refused),
		cmocka_unit_test(an_origin_is_found_in_any_spelling),
		cmocka_unit_test(a_pattern_is_an_origin_whose_host_may_begin_with_a_star),
		cmocka_unit_test(a_star_stands_for_one_label_or_more),
		cmocka_unit_test(pages_are_told_by_the_same_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
