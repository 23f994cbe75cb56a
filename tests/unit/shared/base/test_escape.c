/*
 * What may be shown as it is, and what becomes of the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/escape.h"
#include "shared/base/utf8.h"

/* The whole text, escaped; lives until the next call. */
static const char *escaped(const char *text, size_t len)
{
	static char out[1024];
	size_t used = 0;

	while (len > 0) {
		char *copy = malloc(len); /* of just that length: a byte read too many is found */
		size_t out_len;

		memcpy(copy, text, len);
		size_t taken = escape_next(copy, len, out + used, &out_len);
		free(copy);
		assert_in_range(taken, 1, len);
		assert_in_range(out_len, 1, ESCAPE_MAX_BYTES);
		used += out_len;
		assert_true(used + ESCAPE_MAX_BYTES < sizeof(out));
		text += taken;
		len -= taken;
	}
	out[used] = '\0';
	return out;
}

static const struct {
	const char *text;
	const char *escaped;
} cases[] = {
	{"plain text: 09azAZ ~!#$%&'()*+,-./;<=>?@[]^_`{|}",
	 "plain text: 09azAZ ~!#$%&'()*+,-./;<=>?@[]^_`{|}"},
	{"\"", "\\\""},
	{"\\", "\\\\"},
	{"\\x0a", "\\\\x0a"},
	{"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
	{"\x1B[31m\x07\x7F", "\\x1b[31m\\x07\\x7f"},
	{"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
	{"\xC2\x80\xC2\x9B\xC2\x9F",
	 "\\xc2\\x80\\xc2\\x9b\\xc2\\x9f"}, /* C1; 9B begins a sequence */
	{"\xC2\xA0", "\xC2\xA0"},
	{"\xE2\x80\xA8\xE2\x80\xA9", "\\xe2\\x80\\xa8\\xe2\\x80\\xa9"}, /* separators */
	{"\xE2\x80\xAA\xE2\x80\xAE", "\\xe2\\x80\\xaa\\xe2\\x80\\xae"}, /* overrides */
	{"\xE2\x81\xA6\xE2\x81\xA9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9"}, /* isolates */
	{"\xE2\x80\x8E\xD8\x9C", "\\xe2\\x80\\x8e\\xd8\\x9c"}, /* direction marks */
	{"\xE2\x80\xA7\xE2\x80\xAF\xE2\x81\xA5\xE2\x81\xAA", /* their neighbours */
	 "\xE2\x80\xA7\xE2\x80\xAF\xE2\x81\xA5\xE2\x81\xAA"},
	{"\xFF", "\\xff"},
	{"a\x80z", "a\\x80z"},
	{"\xC3", "\\xc3"},
	{"\xC3(", "\\xc3("},
	{"\xE2\x82", "\\xe2\\x82"},
	{"\xC0\x80", "\\xc0\\x80"},
	{"\xED\xA0\x80", "\\xed\\xa0\\x80"},
	{"\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
};

static void harmful_characters_and_broken_utf_8_become_hexadecimal(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(escaped(cases[i].text, strlen(cases[i].text)),
				    cases[i].escaped);
}

static void a_nul_is_escaped_too(void **state)
{
	(void)state;
	assert_string_equal(escaped("a\0b", 3), "a\\x00b");
}

/* Text with nothing but quotes and backslashes to escape is plain; both functions agree on each
 * code point. */
static void plain_is_what_needs_no_hexadecimal(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x10FFFF; c++) {
		char text[UTF8_MAX_BYTES];

		if (c >= 0xD800 && c <= 0xDFFF)
			continue;
		size_t len = utf8_encode(c, text);
		bool is_hex = strncmp(escaped(text, len), "\\x", 2) == 0;
		if (escape_is_plain(text, len) == is_hex)
			fail_msg("U+%04X", c);
	}
	assert_true(escape_is_plain("", 0));
	assert_true(escape_is_plain("a \"\\", 4));
	assert_false(escape_is_plain("a\0", 2));
	assert_false(escape_is_plain("a\xC3", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(harmful_characters_and_broken_utf_8_become_hexadecimal),
		cmocka_unit_test(a_nul_is_escaped_too),
		cmocka_unit_test(plain_is_what_needs_no_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
