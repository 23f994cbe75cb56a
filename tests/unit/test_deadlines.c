// needs: gateway/deadlines.c
/*
 * The timing wheel: against a plain list, by a fixed sequence of random steps, and sentence by
 * sentence. The sizes of its turn are not known here: leaps and distances of any length are tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <unistd.h>

#include "gateway/deadlines.h"
#include "shared/alloc.h"

enum { TICK = DEADLINES_TICK_MS, HOUR_MS = 3600 * 1000 };

static const int64_t start_ms = 123456789;

static void nothing_is_due_when_nothing_is_set(void **state)
{
	struct deadlines *deadlines = deadlines_new(start_ms);
	struct deadline none = {0};

	(void)state;
	assert_null(deadlines_pop(deadlines, start_ms));
	deadlines_clear(deadlines, &none);
	assert_null(deadlines_pop(deadlines, start_ms + HOUR_MS));
	deadlines_free(deadlines);
	deadlines_free(NULL);
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
			struct deadlines *deadlines = deadlines_new(now_ms);
			struct deadline one = {0};

			deadlines_set(deadlines, &one, now_ms + distances_ms[i]);
			assert_null(deadlines_pop(deadlines, now_ms));
			assert_null(deadlines_pop(deadlines, now_ms + distances_ms[i] - 1));
			now_ms += distances_ms[i];
			assert_ptr_equal(deadlines_pop(deadlines, now_ms), &one);
			assert_null(one.next);
			assert_int_equal(one.due_ms, now_ms);
			assert_null(deadlines_pop(deadlines, now_ms));
			assert_null(deadlines_pop(deadlines, now_ms + 2LL * HOUR_MS));
			deadlines_free(deadlines);
		}
	}
}

static void called_every_tick_it_is_at_most_a_tick_late(void **state)
{
	enum { COUNT = 3000 };
	struct deadline *all = xcalloc(COUNT, sizeof(*all));
	struct deadlines *deadlines = deadlines_new(start_ms);
	struct deadline *due;
	size_t handed_out = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		deadlines_set(deadlines, &all[i], start_ms + (int64_t)i * 71);
	for (int64_t now_ms = start_ms + 37; handed_out < COUNT; now_ms += TICK) {
		while ((due = deadlines_pop(deadlines, now_ms))) {
			assert_in_range(now_ms - due->due_ms, 0, TICK - 1);
			handed_out++;
		}
		assert_true(now_ms < start_ms + COUNT * 71 + TICK);
	}
	deadlines_free(deadlines);
	free(all);
}

static void what_is_due_already_comes_with_the_next_pop(void **state)
{
	static const int64_t pasts_ms[] = {0, 1, TICK, HOUR_MS, 123456789, INT64_MAX / 2};

	(void)state;
	for (size_t i = 0; i < sizeof(pasts_ms) / sizeof(pasts_ms[0]); i++) {
		struct deadlines *deadlines = deadlines_new(start_ms);
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
		deadlines_free(deadlines);
	}
}

static void setting_again_moves_it(void **state)
{
	struct deadlines *deadlines = deadlines_new(start_ms);
	struct deadline one = {0};

	(void)state;
	deadlines_set(deadlines, &one, start_ms + 500);
	deadlines_set(deadlines, &one, start_ms + 90000);
	assert_null(deadlines_pop(deadlines, start_ms + 89999));
	deadlines_set(deadlines, &one, start_ms + 89999); /* backwards, into the tick of now */
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + 89999), &one);
	assert_null(deadlines_pop(deadlines, start_ms + HOUR_MS));
	deadlines_free(deadlines);
}

static void a_cleared_one_does_not_come(void **state)
{
	struct deadlines *deadlines = deadlines_new(start_ms);
	struct deadline one = {0}, two = {0};

	(void)state;
	deadlines_set(deadlines, &one, start_ms + 500);
	deadlines_set(deadlines, &two, start_ms + 500);
	deadlines_clear(deadlines, &one);
	deadlines_clear(deadlines, &one);
	assert_null(one.next);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + HOUR_MS), &two);
	deadlines_clear(deadlines, &two); /* popped: none is set */
	assert_null(deadlines_pop(deadlines, start_ms + 2LL * HOUR_MS));
	deadlines_set(deadlines, &one, start_ms + 3LL * HOUR_MS);
	assert_ptr_equal(deadlines_pop(deadlines, start_ms + 3LL * HOUR_MS), &one);
	deadlines_free(deadlines);
}

/* What happens to one that is due may end or move others that are. */
static void between_pops_others_may_be_cleared_and_moved(void **state)
{
	struct deadlines *deadlines = deadlines_new(start_ms);
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
	deadlines_free(deadlines);
}

static void freeing_leaves_what_is_set_as_it_is(void **state)
{
	struct deadlines *deadlines = deadlines_new(start_ms);
	struct deadline one = {0}, before;

	(void)state;
	deadlines_set(deadlines, &one, start_ms + 500);
	before = one;
	deadlines_free(deadlines);
	assert_memory_equal(&one, &before, sizeof(one));
}

static void a_leap_of_ages_takes_no_longer_than_a_turn(void **state)
{
	const int64_t age_ms = INT64_MAX / 4; /* tick by tick it would never end */
	struct deadlines *deadlines = deadlines_new(start_ms);
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
	deadlines_free(deadlines);
}

/* Millions of looks at a hundred thousand: one walk for each would take hours. */
static void with_nothing_due_a_pop_looks_at_nothing(void **state)
{
	enum { COUNT = 100000, LOOKS = 2000000 };
	struct deadline *all = xcalloc(COUNT, sizeof(*all));
	int64_t now_ms = start_ms - start_ms % TICK;
	struct deadlines *deadlines = deadlines_new(now_ms);

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
	deadlines_free(deadlines);
	free(all);
}

/* The model: when each one is due, -1 for none. */
enum { COUNT = 400 };

struct model {
	struct deadlines *deadlines;
	int64_t now_ms;
	struct deadline all[COUNT];
	int64_t due_ms[COUNT];
};

static unsigned short random_state[3];

static int64_t random_below(int64_t limit)
{
	return (int64_t)(((uint64_t)nrand48(random_state) << 31 | (uint64_t)nrand48(random_state)) %
			 (uint64_t)limit);
}

/* Mostly near, sometimes past, sometimes far. */
static int64_t random_distance_ms(void)
{
	switch (random_below(6)) {
	case 0:
		return -random_below(1000);
	case 1:
		return random_below(2 * TICK);
	case 2:
		return random_below(10LL * HOUR_MS);
	case 3:
		return random_below(16) * 51200 + random_below(3) - 1;
	default:
		return random_below(60000);
	}
}

static int64_t random_leap_ms(void)
{
	switch (random_below(20)) {
	case 0:
		return random_below(5LL * HOUR_MS);
	case 1:
		return random_below(4) * 51200 + random_below(3);
	case 2:
		return 0;
	default:
		return random_below(3 * TICK);
	}
}

static void pop_and_compare(struct model *model)
{
	struct deadline *due;

	while ((due = deadlines_pop(model->deadlines, model->now_ms))) {
		size_t number = (size_t)(due - model->all);

		assert_true(number < COUNT);
		assert_true(model->due_ms[number] >= 0);
		assert_int_equal(due->due_ms, model->due_ms[number]);
		assert_true(due->due_ms <= model->now_ms);
		model->due_ms[number] = -1;
	}
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(model->due_ms[i] < 0 || model->due_ms[i] > model->now_ms);
		assert_true((model->all[i].next == NULL) == (model->due_ms[i] < 0));
	}
}

static void random_steps_agree_with_a_plain_list(void **state)
{
	struct model *model = xcalloc(1, sizeof(*model));

	(void)state;
	random_state[0] = 1987;
	model->now_ms = start_ms;
	model->deadlines = deadlines_new(start_ms);
	for (size_t i = 0; i < COUNT; i++)
		model->due_ms[i] = -1;
	for (int step = 0; step < 300000; step++) {
		size_t number = (size_t)random_below(COUNT);
		int64_t what = random_below(10);

		if (what < 6) {
			model->due_ms[number] = model->now_ms + random_distance_ms();
			deadlines_set(model->deadlines, &model->all[number], model->due_ms[number]);
		} else if (what < 8) {
			model->due_ms[number] = -1;
			deadlines_clear(model->deadlines, &model->all[number]);
		} else {
			model->now_ms += random_leap_ms();
			pop_and_compare(model);
		}
	}
	deadlines_free(model->deadlines);
	free(model);
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
		cmocka_unit_test(freeing_leaves_what_is_set_as_it_is),
		cmocka_unit_test(a_leap_of_ages_takes_no_longer_than_a_turn),
		cmocka_unit_test(with_nothing_due_a_pop_looks_at_nothing),
		cmocka_unit_test(random_steps_agree_with_a_plain_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
