// needs: gateway/client/pending.c
/*
 * Who makes room first among those that have not proved anything yet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/client/pending.h"

enum { MANY = 8 };

static struct pending_list list;
static struct pending those[MANY];

static int begin(void **state)
{
	(void)state;
	pending_list_init(&list);
	for (size_t i = 0; i < MANY; i++)
		those[i] = (struct pending){.kind = (uint8_t)(i % 2)};
	return 0;
}

#define PENDING_TEST(test) cmocka_unit_test_setup(test, begin)

/* The one that makes room is that one; it goes. */
static void assert_first(size_t index)
{
	struct pending *first = pending_first(&list);

	assert_ptr_equal(first, &those[index]);
	assert_int_equal(first->kind, index % 2); /* whatever happened to it */
	pending_remove(&list, first);
	assert_int_equal(first->stage, PENDING_NONE);
}

static void assert_empty(void)
{
	assert_null(pending_first(&list));
	assert_int_equal(list.count, 0);
	for (size_t stage = 0; stage < PENDING_STAGES; stage++)
		assert_true(TAILQ_EMPTY(&list.queues[stage]));
}

static void nobody_makes_room_where_nobody_waits(void **state)
{
	(void)state;
	assert_empty();
	pending_remove(&list, &those[0]);
	assert_empty();
}

static void the_one_that_has_waited_longest_makes_room(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++)
		pending_put(&list, &those[i], PENDING_WAITING);
	assert_int_equal(list.count, MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_first(i);
	assert_empty();
}

static void one_that_leaves_makes_room_before_one_that_waits(void **state)
{
	(void)state;
	pending_put(&list, &those[0], PENDING_WAITING);
	pending_put(&list, &those[1], PENDING_LEAVING);
	pending_put(&list, &those[2], PENDING_WAITING);
	pending_put(&list, &those[3], PENDING_LEAVING);
	assert_int_equal(list.count, 4);
	assert_first(1);
	assert_first(3);
	assert_first(0);
	assert_first(2);
	assert_empty();
}

static void one_that_has_gone_on_waits_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		pending_put(&list, &those[i], PENDING_WAITING);
	pending_put(&list, &those[0], PENDING_WAITING);
	pending_put(&list, &those[2], PENDING_LEAVING);
	assert_int_equal(list.count, 4);
	assert_first(2);
	assert_first(1);
	assert_first(3);
	assert_first(0);
	assert_empty();
}

static void anyone_may_go_from_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < MANY; i++)
		pending_put(&list, &those[i], i < 4 ? PENDING_WAITING : PENDING_LEAVING);
	pending_remove(&list, &those[0]); /* the first */
	pending_remove(&list, &those[3]); /* the last */
	pending_remove(&list, &those[5]); /* in the middle */
	pending_remove(&list, &those[5]); /* it is gone already */
	assert_int_equal(list.count, 5);
	pending_put(&list, &those[3], PENDING_WAITING);
	assert_first(4);
	assert_first(6);
	assert_first(7);
	assert_first(1);
	assert_first(2);
	assert_first(3);
	assert_empty();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PENDING_TEST(nobody_makes_room_where_nobody_waits),
		PENDING_TEST(the_one_that_has_waited_longest_makes_room),
		PENDING_TEST(one_that_leaves_makes_room_before_one_that_waits),
		PENDING_TEST(one_that_has_gone_on_waits_anew),
		PENDING_TEST(anyone_may_go_from_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
