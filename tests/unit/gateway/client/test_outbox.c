// needs: gateway/client/outbox.c gateway/events/frame.c
/*
 * The queue of a connection that is behind: what comes out of it and in which order, and what is
 * dropped. Its limits are in test_outbox_room.c, a long walk in test_outbox_random.c.
 */
#include "tests/unit/gateway/client/outbox_fixture.h"

static void none_and_an_empty_one_hold_nothing(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	assert_int_equal(outbox_count(outbox), 0);
	assert_int_equal(outbox_bytes(outbox), 0);
	assert_null(outbox_pop(outbox));
	assert_false(outbox_drop_oldest_push(outbox));
	assert_int_equal(outbox_count(NULL), 0);
	assert_int_equal(outbox_bytes(NULL), 0);
	assert_int_equal(outbox_count_pushes(outbox), 0);
	assert_int_equal(outbox_count_pushes(NULL), 0);
	outbox_free(outbox);
	outbox_free(NULL);
}

static void frames_come_out_in_the_order_they_went_in(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	for (int mark = 'a'; mark <= 'z'; mark++)
		add(outbox, (char)mark, 10, mark % 2 == 0);
	assert_int_equal(outbox_count(outbox), 26);
	assert_int_equal(outbox_bytes(outbox), 260);
	for (int mark = 'a'; mark <= 'z'; mark++)
		assert_popped(outbox, (char)mark);
	assert_null(outbox_pop(outbox));
	assert_int_equal(outbox_count(outbox), 0);
	assert_int_equal(outbox_bytes(outbox), 0);
	outbox_free(outbox);
}

static void it_takes_a_reference_of_its_own_and_hands_it_on(void **state)
{
	struct outbox *one = outbox_new(&pool), *two = outbox_new(&pool);
	struct frame *frame = frame_of_text("shared");

	(void)state;
	outbox_push(one, frame);
	outbox_push(two, frame);
	outbox_push(two, frame);
	assert_int_equal(frame->references, 4);
	assert_ptr_equal(outbox_pop(one), frame);
	assert_int_equal(frame->references, 4);
	frame_release(frame);
	outbox_free(one);
	assert_int_equal(frame->references, 3);
	outbox_free(two); /* with both still queued */
	assert_int_equal(frame->references, 1);
	frame_release(frame);
}

static void the_oldest_push_is_dropped(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	for (int mark = 'a'; mark <= 'c'; mark++)
		add(outbox, (char)mark, 10, true);
	assert_true(outbox_drop_oldest_push(outbox));
	assert_int_equal(outbox_count(outbox), 2);
	assert_int_equal(outbox_bytes(outbox), 20);
	assert_int_equal(pool.bytes, 20);
	assert_popped(outbox, 'b');
	assert_true(outbox_drop_oldest_push(outbox));
	assert_false(outbox_drop_oldest_push(outbox));
	assert_int_equal(outbox_count(outbox), 0);
	outbox_free(outbox);
}

static void frames_that_are_no_pushes_are_never_dropped_and_keep_their_order(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	add(outbox, 'A', 10, false);
	add(outbox, 'B', 10, false);
	add(outbox, 'p', 10, true);
	add(outbox, 'C', 10, false);
	add(outbox, 'q', 10, true);
	add(outbox, 'D', 10, false);
	assert_int_equal(outbox_count_pushes(outbox), 2);
	assert_true(outbox_drop_oldest_push(outbox));
	assert_int_equal(outbox_count(outbox), 5);
	assert_int_equal(outbox_count_pushes(outbox), 1);
	assert_true(outbox_drop_oldest_push(outbox));
	assert_false(outbox_drop_oldest_push(outbox));
	assert_int_equal(outbox_bytes(outbox), 40);
	for (int mark = 'A'; mark <= 'D'; mark++)
		assert_popped(outbox, (char)mark);
	outbox_free(outbox);
}

/* Also where the ring wraps around and has grown. */
static void what_is_dropped_is_the_oldest_wherever_the_ring_begins(void **state)
{
	(void)state;
	for (size_t turned = 0; turned < 20; turned++) {
		struct outbox *outbox = outbox_new(&pool);

		for (size_t i = 0; i < turned; i++) {
			add(outbox, 'x', 1, true);
			assert_popped(outbox, 'x');
		}
		for (int mark = 'a'; mark <= 'v'; mark++) {
			add(outbox, (char)mark, 1, mark != 'a');
			add(outbox, 'P', 1, true);
			assert_true(outbox_drop_oldest_push(outbox));
		}
		assert_popped(outbox, 'a');
		assert_int_equal(outbox_count(outbox), 21);
		outbox_free(outbox);
		assert_int_equal(pool.bytes, 0);
	}
}

/* What has begun is on its way, even when nothing of it has gone yet: it is not dropped, and takes
 * no frame's place. */
static void one_that_has_begun_stays_the_first(void **state)
{
	const struct outbox_limits one_frame = {.frames = 1, .bytes = MANY};
	struct outbox *outbox = outbox_new(&pool);
	struct frame *frame = new_frame('c', 10, true);

	(void)state;
	assert_int_equal(outbox_written(NULL), 0);
	add(outbox, 'a', 10, true);
	assert_false(outbox_has_room(outbox, frame, one_frame));
	outbox_begin(outbox, 0);
	assert_int_equal(outbox_written(outbox), 0);
	assert_true(outbox_has_room(outbox, frame, one_frame));
	add(outbox, 'A', 10, false);
	add(outbox, 'b', 10, true);
	outbox_begin(outbox, 7);
	assert_int_equal(outbox_written(outbox), 7);
	assert_true(outbox_drop_oldest_push(outbox)); /* b: A moves up, a has begun */
	assert_int_equal(outbox_written(outbox), 7);
	assert_false(outbox_drop_oldest_push(outbox));
	assert_popped(outbox, 'a');
	assert_int_equal(outbox_written(outbox), 0);
	assert_false(outbox_has_room(outbox, frame, one_frame)); /* A has not begun */
	assert_popped(outbox, 'A');
	frame_release(frame);
	outbox_free(outbox);
}

static void clearing_leaves_only_what_is_partly_written(void **state)
{
	struct outbox *outbox = outbox_new(&pool);

	(void)state;
	outbox_clear(NULL);
	outbox_clear(outbox);
	for (size_t written = 0; written <= 3; written += 3) {
		for (int mark = 'a'; mark <= 'e'; mark++)
			add(outbox, (char)mark, 10, mark % 2 == 0);
		outbox_begin(outbox, written);
		outbox_clear(outbox);
		assert_int_equal(outbox_count(outbox), written > 0);
		assert_int_equal(outbox_bytes(outbox), written > 0 ? 10 : 0);
		assert_int_equal(pool.bytes, written > 0 ? 10 : 0);
		assert_int_equal(outbox_written(outbox), written);
	}
	add(outbox, 'f', 10, true);
	assert_popped(outbox, 'a');
	assert_popped(outbox, 'f');
	outbox_free(outbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTBOX_TEST(none_and_an_empty_one_hold_nothing),
		OUTBOX_TEST(frames_come_out_in_the_order_they_went_in),
		OUTBOX_TEST(it_takes_a_reference_of_its_own_and_hands_it_on),
		OUTBOX_TEST(the_oldest_push_is_dropped),
		OUTBOX_TEST(frames_that_are_no_pushes_are_never_dropped_and_keep_their_order),
		OUTBOX_TEST(what_is_dropped_is_the_oldest_wherever_the_ring_begins),
		OUTBOX_TEST(one_that_has_begun_stays_the_first),
		OUTBOX_TEST(clearing_leaves_only_what_is_partly_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
