/*
 * UTF-8: what RFC 3629 allows, byte by byte. Texts are copied to memory of just their length, so
 * that the build with sanitizers finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/base/utf8.h"

struct text {
	const char *bytes;
	size_t len;
};

#define TEXT(literal)                                                                              \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static bool is_valid(const char *bytes, size_t len)
{
	char *copy = xreallocarray(NULL, len, 1);
	bool valid;

	memcpy(copy, bytes, len);
	valid = utf8_valid(copy, len);
	free(copy);
	return valid;
}

static void refuse_all(const struct text *texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char padded[64] = "12345678";
		size_t len = 8 + texts[i].len;

		if (is_valid(texts[i].bytes, texts[i].len))
			fail_msg("text %zu is taken", i);
		if (utf8_char_len(texts[i].bytes, texts[i].len) != 0)
			fail_msg("text %zu has a character", i);
		memcpy(padded + 8, texts[i].bytes, texts[i].len);
		if (is_valid(padded, len) || is_valid(padded + 1, len - 1))
			fail_msg("text %zu is taken after ASCII", i);
	}
}

#define REFUSE_ALL(texts) refuse_all(texts, sizeof(texts) / sizeof((texts)[0]))

static void the_empty_text_is_valid_and_has_no_character(void **state)
{
	(void)state;
	assert_true(utf8_valid("", 0));
	assert_true(utf8_valid(NULL, 0));
	assert_int_equal(utf8_char_len("a", 0), 0);
}

static void ascii_is_valid_nul_and_del_too(void **state)
{
	char all[128];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	for (size_t len = 0; len <= sizeof(all); len++)
		assert_true(is_valid(all, len));
}

static void every_code_point_is_encoded_to_one_valid_character(void **state)
{
	(void)state;
	for (uint32_t code = 0; code <= 0x10FFFF; code++) {
		char out[UTF8_MAX_BYTES];
		size_t expected = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
		size_t len = utf8_encode(code, out);
		bool surrogate = code >= 0xD800 && code <= 0xDFFF;

		if (len != expected || utf8_char_len(out, len) != (surrogate ? 0 : len))
			fail_msg("U+%04X", code);
	}
}

/* Of all texts of two, three and four bytes that begin with a lead byte of that length, as many are
 * characters as there are code points of that length: so nothing else is taken. */
static void there_are_as_many_characters_as_code_points(void **state)
{
	size_t two = 0, three = 0, four = 0;

	(void)state;
	for (uint32_t i = 0; i < 0x10000; i++) {
		char text[4] = {(char)(i >> 8), (char)i, (char)0x80, (char)0xBF};

		two += utf8_char_len(text, 2) == 2;
		three += utf8_char_len(text, 3) == 3;
		four += utf8_char_len(text, 4) == 4;
	}
	assert_int_equal(two, 0x800 - 0x80);
	assert_int_equal(three * 64, 0x10000 - 0x800 - 0x800);
	assert_int_equal(four * 64 * 64, 0x110000 - 0x10000);
}

static void every_byte_of_a_character_is_looked_at(void **state)
{
	static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x93\xA1"};

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		size_t len = strlen(characters[c]);

		for (size_t place = 1; place < len; place++) {
			for (int byte = 0; byte < 256; byte++) {
				char text[UTF8_MAX_BYTES];
				bool good = byte >= 0x80 && byte <= 0xBF;

				memcpy(text, characters[c], len);
				text[place] = (char)byte;
				/* F0 80..8F would be overlong. */
				if (c == 2 && place == 1 && byte < 0x90)
					good = false;
				assert_int_equal(utf8_char_len(text, len), good ? len : 0);
			}
		}
	}
}

static void a_surrogate_is_refused(void **state)
{
	static const struct text texts[] = {TEXT("\xED\xA0\x80"), TEXT("\xED\xAF\xBF"),
					    TEXT("\xED\xB0\x80"), TEXT("\xED\xBF\xBF"),
					    TEXT("\xED\xA0\xBD\xED\xB3\xA1")};

	(void)state;
	REFUSE_ALL(texts);
	assert_true(is_valid("\xED\x9F\xBF", 3));
	assert_true(is_valid("\xEE\x80\x80", 3));
}

static void an_overlong_form_is_refused(void **state)
{
	static const struct text texts[] = {
		TEXT("\xC0\x80"),	  TEXT("\xC0\xAF"),
		TEXT("\xC1\xBF"),	  TEXT("\xE0\x80\x80"),
		TEXT("\xE0\x9F\xBF"),	  TEXT("\xF0\x80\x80\x80"),
		TEXT("\xF0\x8F\xBF\xBF"), TEXT("\xF8\x88\x80\x80\x80"),
	};

	(void)state;
	REFUSE_ALL(texts);
}

static void nothing_above_10ffff_is_taken(void **state)
{
	static const struct text texts[] = {TEXT("\xF4\x90\x80\x80"),
					    TEXT("\xF5\x80\x80\x80"),
					    TEXT("\xF7\xBF\xBF\xBF"),
					    TEXT("\xFC\x84\x80\x80\x80\x80"),
					    TEXT("\xFE"),
					    TEXT("\xFF")};

	(void)state;
	REFUSE_ALL(texts);
	assert_true(is_valid("\xF4\x8F\xBF\xBF", 4));
}

static void a_truncated_character_is_refused(void **state)
{
	static const struct text texts[] = {
		TEXT("\xC3"),	  TEXT("\xE2"),		TEXT("\xE2\x82"),     TEXT("\xF0"),
		TEXT("\xF0\x9F"), TEXT("\xF0\x9F\x93"), TEXT("\x80"),	      TEXT("\xBF"),
		TEXT("\xC3("),	  TEXT("\xE2\x82("),	TEXT("\xF0\x9F\x93(")};

	(void)state;
	REFUSE_ALL(texts);
}

static void a_bad_byte_is_found_at_every_place(void **state)
{
	char text[40];

	(void)state;
	for (size_t len = 1; len <= sizeof(text); len++) {
		for (size_t place = 0; place < len; place++) {
			memset(text, 'x', sizeof(text));
			text[place] = (char)0xA9;
			assert_false(is_valid(text, len));
			if (place > 0) {
				text[place - 1] = (char)0xC3;
				assert_true(is_valid(text, len));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_empty_text_is_valid_and_has_no_character),
		cmocka_unit_test(ascii_is_valid_nul_and_del_too),
		cmocka_unit_test(every_code_point_is_encoded_to_one_valid_character),
		cmocka_unit_test(there_are_as_many_characters_as_code_points),
		cmocka_unit_test(every_byte_of_a_character_is_looked_at),
		cmocka_unit_test(a_surrogate_is_refused),
		cmocka_unit_test(an_overlong_form_is_refused),
		cmocka_unit_test(nothing_above_10ffff_is_taken),
		cmocka_unit_test(a_truncated_character_is_refused),
		cmocka_unit_test(a_bad_byte_is_found_at_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
