/* Slices: cut at a separator, and trimmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/slice.h"

static void assert_slice(struct slice slice, const char *text)
{
	assert_int_equal(slice.len, strlen(text));
	assert_memory_equal(slice.at, text, slice.len);
}

static void trimming_takes_spaces_and_tabs_off_both_ends_and_nothing_else(void **state)
{
	(void)state;
	assert_slice(slice_trim(slice_of(" \t a b\t\n\t ")), "a b\t\n");
	assert_slice(slice_trim(slice_of("a")), "a");
	assert_slice(slice_trim(slice_of(" \t ")), "");
	assert_slice(slice_trim(slice_of("")), "");
	assert_null(slice_trim((struct slice){0}).at);
}

static void splitting_walks_through_a_list_to_its_end(void **state)
{
	static const char *const parts[] = {"a", "", " b", ""};
	struct slice rest = slice_of("a,, b,");

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_non_null(rest.at);
		assert_slice(slice_split(rest, ',', &rest), parts[i]);
	}
	assert_null(rest.at);
}

static void a_text_without_the_separator_is_one_piece(void **state)
{
	struct slice rest;

	(void)state;
	assert_slice(slice_split(slice_of("a b"), ',', &rest), "a b");
	assert_null(rest.at);
	assert_slice(slice_split(slice_of(""), ',', &rest), "");
	assert_null(rest.at);
}

static void a_number_is_digits_without_a_leading_zero_up_to_its_limit(void **state)
{
	static const char *const bad[] = {"", "08", "129", "-1", "+1", " 1", "1 ", "1a", "000001"};
	unsigned number;

	(void)state;
	assert_true(slice_number(slice_of("0"), 128, &number));
	assert_int_equal(number, 0);
	assert_true(slice_number(slice_of("128"), 128, &number));
	assert_int_equal(number, 128);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(slice_number(slice_of(bad[i]), 128, &number));
}

static void an_escape_is_a_percent_and_two_hex_digits(void **state)
{
	static const char *const bad[] = {"", "%", "%4", "%g1", "%1g", "%-1", "%+1", "% 1", "%0x"};

	(void)state;
	assert_int_equal(slice_percent(slice_of("%41")), 'A');
	assert_int_equal(slice_percent(slice_of("%fFx")), 0xff);
	assert_int_equal(slice_percent(slice_of("%00")), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(slice_percent(slice_of(bad[i])), -1);
	assert_int_equal(slice_percent((struct slice){"%41", 2}), -1);
	assert_int_equal(hex_digit('F'), -1); /* a token has one spelling */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trimming_takes_spaces_and_tabs_off_both_ends_and_nothing_else),
		cmocka_unit_test(splitting_walks_through_a_list_to_its_end),
		cmocka_unit_test(a_text_without_the_separator_is_one_piece),
		cmocka_unit_test(a_number_is_digits_without_a_leading_zero_up_to_its_limit),
		cmocka_unit_test(an_escape_is_a_percent_and_two_hex_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
