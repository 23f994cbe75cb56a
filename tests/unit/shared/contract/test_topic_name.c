/*
 * Topic names and the percent escapes that they travel in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/contract/topic_name.h"

static void good_names_have_no_fault(void **state)
{
	static const char *const names[] = {
		"a",	  " ",	     "qso/42", "caf\xC3\xA9", "\xF0\x9F\x93\xA1", "worker.status",
		"\"{}\\", "\xC2\x85"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(topic_name_fault(names[i], strlen(names[i])));
}

static void an_empty_name_is_refused(void **state)
{
	(void)state;
	assert_string_equal(topic_name_fault("", 0), "empty");
}

static void the_limit_is_255_bytes_not_characters(void **state)
{
	char name[256];

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_null(topic_name_fault(name, 255));
	assert_string_equal(topic_name_fault(name, 256), "longer than 255 bytes");
	for (size_t i = 0; i < sizeof(name); i += 2)
		memcpy(name + i, "\xC3\xA9", 2);
	assert_null(topic_name_fault(name, 254));
	assert_string_equal(topic_name_fault(name, 256), "longer than 255 bytes");
	assert_string_equal(topic_name_fault(name, 255), "not valid UTF-8");
}

static void bad_utf8_is_refused(void **state)
{
	static const char *const names[] = {"\xFF", "a\xC3", "\xED\xA0\x80", "\xC0\x80"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_string_equal(topic_name_fault(names[i], strlen(names[i])),
				    "not valid UTF-8");
}

static void every_control_character_is_refused_at_every_place(void **state)
{
	(void)state;
	for (int byte = 0; byte < 0x80; byte++) {
		for (size_t place = 0; place < 3; place++) {
			char name[3] = {'a', 'b', 'c'};
			const char *fault;

			name[place] = (char)byte;
			fault = topic_name_fault(name, sizeof(name));
			if (byte < 0x20 || byte == 0x7F)
				assert_string_equal(fault, "control character");
			else
				assert_null(fault);
		}
	}
}

static void only_the_exact_status_topic_is_reserved(void **state)
{
	(void)state;
	assert_true(topic_name_is_reserved("worker.status", 13));
	assert_false(topic_name_is_reserved("worker.status", 12));
	assert_false(topic_name_is_reserved("worker.status2", 14));
	assert_false(topic_name_is_reserved("worker.status", 14)); /* with its NUL */
	assert_false(topic_name_is_reserved("Worker.status", 13));
	assert_false(topic_name_is_reserved("", 0));
}

/* Decodes from and into memory of just the right size. */
static bool decodes_to(const char *text, const char *expected, size_t expected_len)
{
	size_t len = strlen(text);
	char *from = xreallocarray(NULL, len, 1);
	char *out = xreallocarray(NULL, expected_len, 1);
	size_t out_len = 12345;
	bool good;

	memcpy(from, text, len);
	good = topic_percent_decode(from, len, out, expected_len, &out_len) &&
	       out_len == expected_len && memcmp(out, expected, expected_len) == 0;
	free(from);
	free(out);
	return good;
}

static void percent_escapes_are_decoded(void **state)
{
	(void)state;
	assert_true(decodes_to("", "", 0));
	assert_true(decodes_to("plain", "plain", 5));
	assert_true(decodes_to("a+b%20c%2Bd", "a b c+d", 7));
	assert_true(decodes_to("%e2%82%AC", "\xE2\x82\xAC", 3));
	assert_true(decodes_to("%00", "\0", 1));
	assert_true(decodes_to("%2500", "%00", 3)); /* once, not twice */
	assert_true(decodes_to("%FF%aF", "\xFF\xAF", 2));
	assert_true(decodes_to("caf\xC3\xA9", "caf\xC3\xA9", 5));
}

static void every_byte_can_be_escaped(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char upper[4], lower[4], expected = (char)byte;

		snprintf(upper, sizeof(upper), "%%%02X", (unsigned)byte);
		snprintf(lower, sizeof(lower), "%%%02x", (unsigned)byte);
		assert_true(decodes_to(upper, &expected, 1));
		assert_true(decodes_to(lower, &expected, 1));
	}
}

static void a_broken_escape_is_refused(void **state)
{
	static const char *const texts[] = {"%",   "%2",  "a%",	 "a%2", "%%20", "%G0",	"%0G",
					    "% 1", "%+1", "%1+", "%-1", "%0x1", "%20%", "%u0041"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *exact = xreallocarray(NULL, strlen(texts[i]), 1);
		char out[32];
		size_t len = 99;

		memcpy(exact, texts[i], strlen(texts[i]));
		if (topic_percent_decode(exact, strlen(texts[i]), out, sizeof(out), &len))
			fail_msg("%s is taken", texts[i]);
		free(exact);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	char out[4] = "####";
	size_t len = 99;

	(void)state;
	assert_true(topic_percent_decode("%41%42%43", 9, out, 3, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(out, "ABC#", 4);
	assert_false(topic_percent_decode("%41%42%43+", 10, out, 3, &len));
	assert_false(topic_percent_decode("x", 1, out, 0, &len));
	assert_memory_equal(out, "ABC#", 4);
}

/* What a query says; its topic, if it names one, must be that. The query is copied into memory of
 * just its length. */
static enum topic_query query_of(const char *query, const char *expected)
{
	char *exact = xreallocarray(NULL, strlen(query), 1), topic[TOPIC_MAX_BYTES];
	size_t len = 0;

	memcpy(exact, query, strlen(query));
	enum topic_query found = topic_of_query((struct slice){exact, strlen(query)}, topic, &len);
	free(exact);
	if (found == TOPIC_NAMED && (len != strlen(expected) || memcmp(topic, expected, len) != 0))
		fail_msg("%s names %.*s", query, (int)len, topic);
	return found;
}

static void the_first_topic_of_a_query_counts(void **state)
{
	static const struct {
		const char *query;
		enum topic_query found;
		const char *topic;
	} cases[] = {
		{"topic=a", TOPIC_NAMED, "a"},
		{"topic=a&topic=b", TOPIC_NAMED, "a"},
		{"x=1&topic=a%2Fb&y", TOPIC_NAMED, "a/b"},
		{"&&topic=caf%C3%A9+1", TOPIC_NAMED, "caf\xC3\xA9 1"},
		{"topic=a=b", TOPIC_NAMED, "a=b"},
		{"topic=%26topic%3Db", TOPIC_NAMED, "&topic=b"},
		{"", TOPIC_MISSING, ""},
		{"&", TOPIC_MISSING, ""},
		{"topic", TOPIC_MISSING, ""},
		{"topic=", TOPIC_MISSING, ""},
		{"topic=&topic=a", TOPIC_MISSING, ""},
		{"Topic=a", TOPIC_MISSING, ""},
		{"topics=a", TOPIC_MISSING, ""},
		{"t%6Fpic=a", TOPIC_MISSING, ""},
		{"xtopic=a", TOPIC_MISSING, ""},
		{"topic=%", TOPIC_BROKEN, ""},
		{"topic=a%2", TOPIC_BROKEN, ""},
		{"topic=%GG&topic=a", TOPIC_BROKEN, ""},
		{"topic=%00", TOPIC_IMPOSSIBLE, ""},
		{"topic=a%0A", TOPIC_IMPOSSIBLE, ""},
		{"topic=%FF", TOPIC_IMPOSSIBLE, ""},
		{"topic=%ED%A0%80", TOPIC_IMPOSSIBLE, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (query_of(cases[i].query, cases[i].topic) != cases[i].found)
			fail_msg("%s", cases[i].query);
	assert_int_equal(topic_of_query((struct slice){0}, NULL, NULL), TOPIC_MISSING);
}

static void a_topic_of_255_bytes_fits_and_no_longer_one_in_any_code(void **state)
{
	char query[8192] = "topic=", topic[TOPIC_MAX_BYTES + 1] = "";

	(void)state;
	for (size_t i = 0; i < TOPIC_MAX_BYTES; i++) {
		memcpy(query + 6 + 3 * i, "%41", 4);
		topic[i] = 'A';
	}
	assert_int_equal(query_of(query, topic), TOPIC_NAMED);
	memcpy(query + strlen(query), "A", 2);
	assert_int_equal(query_of(query, topic), TOPIC_IMPOSSIBLE);
	memset(query + 6, 'A', TOPIC_MAX_BYTES);
	query[6 + TOPIC_MAX_BYTES] = '\0';
	assert_int_equal(query_of(query, topic), TOPIC_NAMED);
	query[6 + TOPIC_MAX_BYTES] = 'A';
	assert_int_equal(query_of(query, topic), TOPIC_IMPOSSIBLE);
	memset(query + 6, '%', sizeof(query) - 7);
	assert_int_equal(query_of(query, topic), TOPIC_IMPOSSIBLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names_have_no_fault),
		cmocka_unit_test(an_empty_name_is_refused),
		cmocka_unit_test(the_limit_is_255_bytes_not_characters),
		cmocka_unit_test(bad_utf8_is_refused),
		cmocka_unit_test(every_control_character_is_refused_at_every_place),
		cmocka_unit_test(only_the_exact_status_topic_is_reserved),
		cmocka_unit_test(percent_escapes_are_decoded),
		cmocka_unit_test(every_byte_can_be_escaped),
		cmocka_unit_test(a_broken_escape_is_refused),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(the_first_topic_of_a_query_counts),
		cmocka_unit_test(a_topic_of_255_bytes_fits_and_no_longer_one_in_any_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
