/*
 * The names of what is counted: each number has one, no two have the same, and families are
 * together, as Prometheus wants them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shared/counters/counters.h"

static void every_counter_has_a_name_and_only_the_first_of_a_family_a_help(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTERS; i++) {
		const struct counter_name *name = &counter_names[i];
		const struct counter_name *before = i > 0 ? &counter_names[i - 1] : NULL;

		assert_non_null(name->family);
		assert_non_null(name->label);
		assert_int_equal(name->key != NULL, name->label[0] != '\0');
		if (before && strcmp(before->family, name->family) == 0) {
			assert_null(name->help);
			assert_non_null(name->key);
			assert_string_equal(name->key, before->key);
		} else {
			assert_non_null(name->help);
		}
	}
}

static void families_are_not_broken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTERS; i++)
		for (size_t j = i + 1; counter_names[i].help && j < COUNTERS; j++)
			if (counter_names[j].help)
				assert_string_not_equal(counter_names[i].family,
							counter_names[j].family);
	for (size_t i = 0; i < LATENCIES; i++) {
		assert_non_null(latency_names[i].family);
		assert_non_null(latency_names[i].help);
	}
}

/* A help text is put into the exposition as it is. */
static void no_text_needs_to_be_escaped(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTERS; i++) {
		assert_null(strpbrk(counter_names[i].label, "\\\"\n"));
		if (counter_names[i].help)
			assert_null(strpbrk(counter_names[i].help, "\\\n"));
	}
}

static void every_cell_is_another_number_with_another_name(void **state)
{
	(void)state;
	static struct counter_cell names[COUNTER_CELLS];
	static struct counters counters;

	assert_int_equal(sizeof(counters), COUNTER_CELLS * sizeof(int64_t)); /* none is left out */
	for (size_t i = 0; i < COUNTER_CELLS; i++) {
		int64_t *cell = &counters.cells[i];

		assert_int_equal(*cell, 0);
		*cell = 1;
		counters_cell_name(i, &names[i]);
		assert_true(names[i].name[0] != '\0');
		assert_true(strlen(names[i].name) < COUNTER_NAME_SIZE - 1); /* not cut */
		for (size_t j = 0; j < i; j++)
			assert_false(strcmp(names[i].name, names[j].name) == 0 &&
				     strcmp(names[i].label, names[j].label) == 0);
	}
}

static void assert_name(size_t cell, const char *name, const char *label)
{
	struct counter_cell found;

	counters_cell_name(cell, &found);
	assert_string_equal(found.name, name);
	assert_string_equal(found.label, label);
}

static void names_are_those_of_the_table(void **state)
{
	(void)state;
	const size_t commit = COUNTERS; /* the first histogram */

	assert_name(COUNT_PUBLISHES, "publishes", "");
	assert_name(COUNT_DROP_OUTBOX_FULL, "drops", "outbox_full");
	assert_name(commit, "commit_us", "8");
	assert_name(commit + HISTOGRAM_BOUNDS - 1, "commit_us", "16777216");
	assert_name(commit + HISTOGRAM_BOUNDS, "commit_us", "more");
	assert_name(commit + HISTOGRAM_BUCKETS, "commit_us_sum", "");
	assert_name(COUNTER_CELLS - 1, "fanout_us_sum", "");
}

static void an_answer_is_counted_by_its_status(void **state)
{
	(void)state;
	static const int statuses[] = {400, 403, 404, 405, 413, 503};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		const char *label = counter_names[counter_of_refusal(statuses[i])].label;

		assert_int_equal(strtol(label, NULL, 10), statuses[i]);
	}
	assert_int_equal(counter_of_refusal(507), COUNT_REFUSAL_OTHER);
	assert_int_equal(counter_of_refusal(418), COUNT_REFUSAL_OTHER);
}

static const int64_t day_us = (int64_t)24 * 3600 * 1000000;

static int64_t count_of(const struct histogram *histogram)
{
	int64_t count = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += histogram->buckets[i];
	return count;
}

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
	assert_int_equal(count_of(&histogram), 1);
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
	assert_int_equal(count_of(&histogram), 5000);
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
		cmocka_unit_test(every_counter_has_a_name_and_only_the_first_of_a_family_a_help),
		cmocka_unit_test(families_are_not_broken_apart),
		cmocka_unit_test(no_text_needs_to_be_escaped),
		cmocka_unit_test(every_cell_is_another_number_with_another_name),
		cmocka_unit_test(names_are_those_of_the_table),
		cmocka_unit_test(an_answer_is_counted_by_its_status),
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
