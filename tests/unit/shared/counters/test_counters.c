/*
 * The names of what is counted: each number has one, no two have the same, and families stand
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

/* A help text is put into the exposition as it stands. */
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
		int64_t *cell = counters_cell(&counters, i);

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
	static const int statuses[] = {400, 403, 404, 405, 413, 503, 507};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		const char *label = counter_names[counter_of_refusal(statuses[i])].label;

		assert_int_equal(strtol(label, NULL, 10), statuses[i]);
	}
	assert_int_equal(counter_of_refusal(418), COUNT_REFUSAL_OTHER);
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
