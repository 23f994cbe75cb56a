// needs: gateway/client/deadlines.c
/*
 * Deadlines by time against a plain list, by a fixed sequence of random steps: leaps and distances
 * of any length are tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "gateway/client/deadlines.h"
#include "shared/base/alloc.h"

enum { TICK = DEADLINES_TICK_MS, HOUR_MS = 3600 * 1000, COUNT = 400 };

static const int64_t start_ms = 123456789;

/* When each one is due, -1 for none. */
struct model {
	struct deadlines deadlines;
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

	while ((due = deadlines_pop(&model->deadlines, model->now_ms))) {
		size_t number = (size_t)(due - model->all);

		assert_true(number < COUNT);
		assert_true(model->due_ms[number] >= 0);
		assert_int_equal(due->due_ms, 0);
		assert_true(model->due_ms[number] <= model->now_ms);
		model->due_ms[number] = -1;
	}
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(model->due_ms[i] < 0 || model->due_ms[i] > model->now_ms);
		assert_true((model->all[i].due_ms == 0) == (model->due_ms[i] < 0));
	}
}

static void random_steps_agree_with_a_plain_list(void **state)
{
	struct model *model = xcalloc(1, sizeof(*model));

	(void)state;
	random_state[0] = 1987;
	model->now_ms = start_ms;
	for (size_t i = 0; i < COUNT; i++)
		model->due_ms[i] = -1;
	for (int step = 0; step < 300000; step++) {
		size_t number = (size_t)random_below(COUNT);
		int64_t what = random_below(10);

		if (what < 6) {
			model->due_ms[number] = model->now_ms + random_distance_ms();
			deadlines_set(&model->deadlines, &model->all[number],
				      model->due_ms[number]);
		} else if (what < 8) {
			model->due_ms[number] = -1;
			deadlines_clear(&model->deadlines, &model->all[number]);
		} else {
			model->now_ms += random_leap_ms();
			pop_and_compare(model);
		}
	}
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_steps_agree_with_a_plain_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
