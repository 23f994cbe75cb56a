// needs: gateway/client/outbox.c gateway/events/frame.c
/*
 * For which frames there is room: the limits of the queue of one connection, and of the pool of all
 * of them, which counts a frame that waits in several queues once.
 */
#include "tests/unit/gateway/client/outbox_fixture.h"

static const struct outbox_limits no_limits = {.frames = MANY, .bytes = MANY};

static bool has_room(const struct outbox *outbox, size_t len, size_t frames, size_t bytes)
{
	const struct outbox_limits limits = {.frames = frames, .bytes = bytes};
	struct frame *frame = new_frame('x', len, true);
	bool room = outbox_has_room(outbox, frame, limits);

	frame_release(frame);
	return room;
}

static void there_is_room_up_to_the_limit_of_frames(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(has_room(outbox, 10, 3, MANY));
		add(outbox, 'a', 10, true);
	}
	assert_false(has_room(outbox, 10, 3, MANY));
	assert_false(has_room(outbox, 10, 2, MANY)); /* the limit came down */
	assert_true(has_room(outbox, 10, 4, MANY));
	assert_popped(outbox, 'a');
	assert_true(has_room(outbox, 10, 3, MANY));
	outbox_free(outbox);
}

static void there_is_room_up_to_the_limit_of_bytes(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	add(outbox, 'a', 40, true);
	add(outbox, 'b', 40, false); /* counts like any other */
	assert_true(has_room(outbox, 20, MANY, 100)); /* just full */
	assert_false(has_room(outbox, 21, MANY, 100));
	assert_false(has_room(outbox, 20, MANY, 99));
	assert_popped(outbox, 'a');
	assert_true(has_room(outbox, 60, MANY, 100));
	assert_false(has_room(outbox, 61, MANY, 100));
	outbox_free(outbox);
}

static void an_empty_one_takes_a_frame_of_any_length(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	assert_true(has_room(outbox, 1000, 1, 100));
	assert_true(has_room(outbox, 1000, 0, 0)); /* whatever the limits */
	add(outbox, 'a', 1000, true);
	assert_false(has_room(outbox, 1, MANY, 100));
	assert_popped(outbox, 'a');
	assert_true(has_room(outbox, 1000, 0, 0));
	outbox_free(outbox);
}

static void a_push_without_room_is_queued_all_the_same(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	pool.max_bytes = 10;
	add(outbox, 'a', 100, false);
	assert_false(has_room(outbox, 100, 0, 0));
	add(outbox, 'b', 100, false);
	assert_int_equal(outbox_count(outbox), 2);
	assert_int_equal(outbox_bytes(outbox), 200);
	assert_int_equal(pool.bytes, 200);
	assert_popped(outbox, 'a');
	assert_popped(outbox, 'b');
	outbox_free(outbox);
}

static void the_pool_counts_a_shared_frame_once_until_the_last_lets_it_go(void **state)
{
	struct outbox *popped = outbox_new(&pool), *dropped = outbox_new(&pool);
	struct outbox *freed = outbox_new(&pool);
	struct frame *frame = new_frame('s', 100, true);

	(void)state;
	outbox_push(popped, frame);
	outbox_push(dropped, frame);
	outbox_push(freed, frame);
	outbox_push(freed, frame); /* twice in one */
	assert_int_equal(pool.bytes, 100);
	assert_int_equal(frame->waiting, 4);
	assert_int_equal(outbox_bytes(freed), 200);
	frame_release(outbox_pop(popped));
	assert_int_equal(pool.bytes, 100);
	assert_true(outbox_drop_oldest_push(dropped));
	assert_int_equal(pool.bytes, 100);
	assert_int_equal(frame->waiting, 2);
	outbox_free(freed);
	assert_int_equal(pool.bytes, 0);
	assert_int_equal(frame->waiting, 0);
	outbox_push(dropped, frame); /* and anew */
	assert_int_equal(pool.bytes, 100);
	outbox_free(dropped);
	outbox_free(popped);
	assert_int_equal(frame->references, 1);
	frame_release(frame);
}

static void a_full_pool_has_room_only_for_what_waits_already(void **state)
{
	struct outbox *one = outbox_new(&pool), *two = outbox_new(&pool);
	struct frame *frame = new_frame('s', 60, true);

	(void)state;
	pool.max_bytes = 100;
	outbox_push(one, frame);
	assert_true(has_room(two, 40, MANY, MANY)); /* just full */
	assert_false(has_room(two, 41, MANY, MANY)); /* an empty outbox or not */
	assert_false(has_room(one, 41, MANY, MANY));
	assert_true(outbox_has_room(two, frame, no_limits));
	assert_true(outbox_has_room(one, frame, no_limits));
	assert_true(outbox_pool_has_room(&pool, frame));
	outbox_push(two, frame);
	assert_int_equal(pool.bytes, 60);
	frame_release(outbox_pop(one));
	assert_false(has_room(one, 41, MANY, MANY)); /* the other one still has it */
	frame_release(outbox_pop(two));
	assert_true(has_room(one, 100, MANY, MANY));
	assert_false(has_room(one, 101, MANY, MANY));
	frame_release(frame);
	outbox_free(one);
	outbox_free(two);
}

static void the_pool_has_room_or_not_whatever_the_outboxes(void **state)
{
	struct outbox *outbox = outbox_new(&pool);
	struct frame *frame = new_frame('x', 60, true);

	(void)state;
	pool.max_bytes = 100;
	add(outbox, 'a', 40, true);
	assert_true(outbox_pool_has_room(&pool, frame)); /* just full */
	add(outbox, 'b', 1, true);
	assert_false(outbox_pool_has_room(&pool, frame));
	frame_release(frame);
	outbox_free(outbox);
}

static void what_waits_already_has_to_fit_the_outbox_too(void **state)
{
	const struct outbox_limits limits = {.frames = 2, .bytes = 150};
	struct outbox *one = outbox_new(&pool), *two = outbox_new(&pool);
	struct frame *frame = new_frame('s', 100, true);

	(void)state;
	outbox_push(one, frame);
	assert_false(outbox_has_room(one, frame, limits)); /* too many bytes */
	add(two, 'a', 1, true);
	assert_true(outbox_has_room(two, frame, limits));
	add(two, 'b', 1, true);
	assert_false(outbox_has_room(two, frame, limits)); /* too many frames */
	frame_release(frame);
	outbox_free(one);
	outbox_free(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTBOX_TEST(there_is_room_up_to_the_limit_of_frames),
		OUTBOX_TEST(there_is_room_up_to_the_limit_of_bytes),
		OUTBOX_TEST(an_empty_one_takes_a_frame_of_any_length),
		OUTBOX_TEST(a_push_without_room_is_queued_all_the_same),
		OUTBOX_TEST(the_pool_counts_a_shared_frame_once_until_the_last_lets_it_go),
		OUTBOX_TEST(a_full_pool_has_room_only_for_what_waits_already),
		OUTBOX_TEST(the_pool_has_room_or_not_whatever_the_outboxes),
		OUTBOX_TEST(what_waits_already_has_to_fit_the_outbox_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
