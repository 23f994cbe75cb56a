/*
 * Which bucket a time falls into, and that counts and sums are exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/counters/histogram.h"

static const int64_t day_us = (int64_t)24 * 3600 * 1000000;

static int bucket_of(int64_t us)
{
	struct histogram histogram = {0};
	int found = -1;

	histogram_add(&histogram, us);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (histogram.buckets[i] == 0)
			continue;
		assert_int_equal(histogram.buckets[i], 1);
		assert_int_equal(found, -1);
		found = i;
	}
	assert_int_equal(histogram_count(&histogram), 1);
	return found;
}

static void bounds_double_from_the_first_to_the_last(void **state)
{
	(void)state;
	assert_int_equal(histogram_bound_us(0), HISTOGRAM_FIRST_BOUND_US);
	for (int i = 1; i < HISTOGRAM_BOUNDS; i++)
		assert_int_equal(histogram_bound_us(i), 2 * histogram_bound_us(i - 1));
	assert_int_equal(histogram_bound_us(HISTOGRAM_BOUNDS - 1), 16777216);
	assert_int_equal(histogram_bound_us(HISTOGRAM_BOUNDS), INT64_MAX);
}

static void a_bound_belongs_to_the_bucket_it_ends(void **state)
{
	(void)state;
	for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
		int64_t bound_us = histogram_bound_us(i);

		assert_int_equal(bucket_of(bound_us), i);
		assert_int_equal(bucket_of(bound_us + 1), i + 1);
	}
}

static void every_time_is_within_its_bucket(void **state)
{
	(void)state;
	for (int64_t us = 0; us < 40000000; us += 1 + us / 7) {
		int bucket = bucket_of(us);

		assert_true(us <= histogram_bound_us(bucket));
		assert_true(bucket == 0 || us > histogram_bound_us(bucket - 1));
	}
}

static void the_longest_times_fall_into_the_last_bucket(void **state)
{
	(void)state;
	assert_int_equal(bucket_of(16777217), HISTOGRAM_BOUNDS);
	assert_int_equal(bucket_of(INT64_MAX), HISTOGRAM_BOUNDS);
}

static void a_time_below_zero_counts_as_zero(void **state)
{
	(void)state;
	struct histogram histogram = {0};

	histogram_add(&histogram, -1);
	histogram_add(&histogram, INT64_MIN);
	histogram_add(&histogram, 0);
	assert_int_equal(histogram.buckets[0], 3);
	assert_int_equal(histogram.sum_us, 0);
}

static void sums_and_counts_are_exact(void **state)
{
	(void)state;
	struct histogram histogram = {0};
	int64_t sum_us = 0;

	for (int64_t us = 0; us < 5000; us++) {
		histogram_add(&histogram, us * us);
		sum_us += us * us;
	}
	assert_int_equal(histogram.sum_us, sum_us);
	assert_int_equal(histogram_count(&histogram), 5000);
}

static void what_a_wrong_clock_claims_counts_as_a_day(void **state)
{
	(void)state;
	struct histogram histogram = {0};

	for (int i = 0; i < 1000; i++)
		histogram_add(&histogram, INT64_MAX);
	assert_int_equal(histogram.sum_us, 1000 * day_us);
	histogram_add(&histogram, day_us - 1);
	assert_int_equal(histogram.sum_us, 1001 * day_us - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_double_from_the_first_to_the_last),
		cmocka_unit_test(a_bound_belongs_to_the_bucket_it_ends),
		cmocka_unit_test(every_time_is_within_its_bucket),
		cmocka_unit_test(the_longest_times_fall_into_the_last_bucket),
		cmocka_unit_test(a_time_below_zero_counts_as_zero),
		cmocka_unit_test(sums_and_counts_are_exact),
		cmocka_unit_test(what_a_wrong_clock_claims_counts_as_a_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
