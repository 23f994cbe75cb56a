/*
 * How many different things: against plain counting, at any size, round after round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shared/counters/distinct.h"

static struct distinct *distinct;

static int start(void **state)
{
	(void)state;
	distinct = distinct_new();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	distinct_free(distinct);
	distinct_free(NULL);
	return 0;
}

static void add(const char *text)
{
	distinct_add(distinct, text, strlen(text));
}

static void add_numbers(int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++)
		distinct_add(distinct, &i, sizeof(i));
}

static void nothing_is_none(void **state)
{
	(void)state;
	assert_int_equal(distinct_count(distinct), 0);
}

static void what_comes_again_counts_once(void **state)
{
	(void)state;
	add("a");
	add("b");
	add("a");
	add("");
	add("");
	add("ab");
	distinct_add(distinct, "a\0", 2);
	assert_int_equal(distinct_count(distinct), 5);
}

static void it_grows_and_still_knows_what_it_had(void **state)
{
	(void)state;
	add_numbers(0, 50000);
	assert_int_equal(distinct_count(distinct), 50000);
	add_numbers(0, 50000);
	assert_int_equal(distinct_count(distinct), 50000);
	add_numbers(49000, 50001);
	assert_int_equal(distinct_count(distinct), 50001);
}

static void cleared_it_has_forgotten_all(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		distinct_clear(distinct);
		assert_int_equal(distinct_count(distinct), 0);
		add_numbers(round, round + 3000);
		assert_int_equal(distinct_count(distinct), 3000);
	}
}

#define DISTINCT_TEST(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISTINCT_TEST(nothing_is_none),
		DISTINCT_TEST(what_comes_again_counts_once),
		DISTINCT_TEST(it_grows_and_still_knows_what_it_had),
		DISTINCT_TEST(cleared_it_has_forgotten_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
