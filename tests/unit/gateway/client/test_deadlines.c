// needs: gateway/client/deadlines.c
/*
 * Deadlines by time, sentence by sentence. test_deadlines_random.c has it against a plain list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <unistd.h>

#include "gateway/client/deadlines.h"
#include "shared/base/alloc.h"

enum { TICK = DEADLINES_TICK_MS, HOUR_MS = 3600 * 1000 };

static const int64_t start_ms = 123456789;

static void nothing_is_due_when_nothing_is_set(void **state)
{
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline none = {0};

	(void)state;
	assert_null(deadlines_pop(deadlines, start_ms));
	deadlines_clear(deadlines, &none);
	assert_null(deadlines_pop(deadlines, start_ms + HOUR_MS));
}

static void it_comes_at_its_time_not_earlier_and_only_once(void **state)
{
	static const int64_t distances_ms[] = {1,      TICK - 1, TICK,	  TICK + 1,	   10000,
					       30000,  51199,	 51200,	  51201,	   60000,
					       102400, 409600,	 HOUR_MS, 1000LL * HOUR_MS};

	(void)state;
	for (size_t i = 0; i < sizeof(distances_ms) / sizeof(distances_ms[0]); i++) {
		for (int64_t shift_ms = 0; shift_ms < TICK; shift_ms += 33) {
			int64_t now_ms = start_ms + shift_ms;
			struct deadlines tree = {0}, *deadlines = &tree;
			struct deadline one = {0};

			deadlines_set(deadlines, &one, now_ms + distances_ms[i]);
			assert_null(deadlines_pop(deadlines, now_ms));
			assert_null(deadlines_pop(deadlines, now_ms + distances_ms[i] - 1));
			now_ms += distances_ms[i];
			assert_ptr_equal(deadlines_pop(deadlines, now_ms), &one);
			assert_int_equal(one.due_ms, 0);
			assert_null(deadlines_pop(deadlines, now_ms));
			assert_null(deadlines_pop(deadlines, now_ms + 2LL * HOUR_MS));
		}
	}
}

static void called_every_tick_it_is_at_most_a_tick_late(void **state)
{
	enum { COUNT = 3000 };
	struct deadline *all = xcalloc(COUNT, sizeof(*all));
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline *due;
	size_t handed_out = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		deadlines_set(deadlines, &all[i], start_ms + (int64_t)i * 71);
	for (int64_t now_ms = start_ms + 37; handed_out < COUNT; now_ms += TICK) {
		while ((due = deadlines_pop(deadlines, now_ms))) {
			assert_in_range(now_ms - start_ms - (due - all) * 71, 0, TICK - 1);
			handed_out++;
		}
		assert_true(now_ms < start_ms + COUNT * 71 + TICK);
	}
	free(all);
}

static void what_is_due_already_comes_with_the_next_pop(void **state)
{
	static const int64_t pasts_ms[] = {0, 1, TICK, HOUR_MS, 123456789, INT64_MAX / 2};

	(void)state;
	for (size_t i = 0; i < sizeof(pasts_ms) / sizeof(pasts_ms[0]); i++) {
		struct deadlines tree = {0}, *deadlines = &tree;
		struct deadline one = {0};

		deadlines_set(deadlines, &one, start_ms - pasts_ms[i]);
		assert_ptr_equal(deadlines_pop(deadlines, start_ms), &one);
		assert_null(deadlines_pop(deadlines, start_ms));

		/* The same within a loop of pops: a session that has no time left. */
		deadlines_set(deadlines, &one, start_ms + 1);
		assert_ptr_equal(deadlines_pop(deadlines, start_ms + 5), &one);
		deadlines_set(deadlines, &one, start_ms + 3);
		assert_ptr_equal(deadlines_pop(deadlines, start_ms + 5), &one);
		assert_null(deadlines_pop(deadlines, start_ms + 5));
	}
}

static void setting_again_moves_it(void **state)
{
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline one = {0};

	(void)state;
	deadlines_set(deadlines, &one, start_ms + 500);
	deadlines_set(deadlines, &one, start_ms + 90000);
	assert_null(deadlines_pop(deadlines, start_ms + 89999));
	deadlines_set(deadlines, &one, start_ms + 89999); /* backwards, into the tick of now */
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + 89999), &one);
	assert_null(deadlines_pop(deadlines, start_ms + HOUR_MS));
}

static void a_cleared_one_does_not_come(void **state)
{
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline one = {0}, two = {0};

	(void)state;
	deadlines_set(deadlines, &one, start_ms + 500);
	deadlines_set(deadlines, &two, start_ms + 500);
	deadlines_clear(deadlines, &one);
	deadlines_clear(deadlines, &one);
	assert_int_equal(one.due_ms, 0);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + HOUR_MS), &two);
	deadlines_clear(deadlines, &two); /* popped: none is set */
	assert_null(deadlines_pop(deadlines, start_ms + 2LL * HOUR_MS));
	deadlines_set(deadlines, &one, start_ms + 3LL * HOUR_MS);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + 3LL * HOUR_MS), &one);
}

/* What happens to one that is due may end or move others that are. */
static void between_pops_others_may_be_cleared_and_moved(void **state)
{
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline all[4] = {0};
	bool popped[4] = {false};
	struct deadline *due;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		deadlines_set(deadlines, &all[i], start_ms + 10);
	size_t first = (size_t)(deadlines_pop(deadlines, start_ms + 10) - all);
	size_t cleared = (first + 1) % 4, moved = (first + 2) % 4, left = (first + 3) % 4;
	deadlines_clear(deadlines, &all[cleared]);
	memset(&all[cleared], 0xA5, sizeof(all[cleared])); /* its session is gone */
	deadlines_set(deadlines, &all[moved], start_ms + 20);
	while ((due = deadlines_pop(deadlines, start_ms + 10)))
		popped[due - all] = true;
	assert_true(popped[left]);
	assert_false(popped[moved] || popped[cleared] || popped[first]);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + 20), &all[moved]);
}

static void a_leap_of_ages_takes_no_longer_than_a_turn(void **state)
{
	const int64_t age_ms = INT64_MAX / 4; /* tick by tick it would never end */
	struct deadlines tree = {0}, *deadlines = &tree;
	struct deadline soon = {0}, late = {0}, later = {0};

	(void)state;
	alarm(20);
	deadlines_set(deadlines, &soon, start_ms + 500);
	deadlines_set(deadlines, &late, start_ms + age_ms);
	deadlines_set(deadlines, &later, start_ms + age_ms + 1);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + age_ms - 1), &soon);
	assert_null(deadlines_pop(deadlines, start_ms + age_ms - 1));
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + age_ms), &late);
	assert_null(deadlines_pop(deadlines, start_ms + age_ms));
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + age_ms + 1), &later);
	alarm(0);
}

/* Millions of looks at a hundred thousand: one walk for each would take hours. */
static void with_nothing_due_a_pop_looks_at_nothing(void **state)
{
	enum { COUNT = 100000, LOOKS = 2000000 };
	struct deadline *all = xcalloc(COUNT, sizeof(*all));
	int64_t now_ms = start_ms - start_ms % TICK;
	struct deadlines tree = {0}, *deadlines = &tree;

	(void)state;
	alarm(20);
	for (size_t i = 0; i < COUNT; i++)
		deadlines_set(deadlines, &all[i], now_ms + TICK - 1 - (int64_t)i % 5);
	for (size_t i = 0; i < LOOKS; i++)
		assert_null(deadlines_pop(deadlines, now_ms + (int64_t)i * (TICK - 5) / LOOKS));
	for (size_t i = 0; i < COUNT; i++)
		assert_non_null(deadlines_pop(deadlines, now_ms + TICK));
	assert_null(deadlines_pop(deadlines, now_ms + TICK));
	alarm(0);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_due_when_nothing_is_set),
		cmocka_unit_test(it_comes_at_its_time_not_earlier_and_only_once),
		cmocka_unit_test(called_every_tick_it_is_at_most_a_tick_late),
		cmocka_unit_test(what_is_due_already_comes_with_the_next_pop),
		cmocka_unit_test(setting_again_moves_it),
		cmocka_unit_test(a_cleared_one_does_not_come),
		cmocka_unit_test(between_pops_others_may_be_cleared_and_moved),
		cmocka_unit_test(a_leap_of_ages_takes_no_longer_than_a_turn),
		cmocka_unit_test(with_nothing_due_a_pop_looks_at_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
