// needs: gateway/outbox.c gateway/frame.c
/*
 * The queue of a connection that is behind: sentence by sentence, and against an array by a fixed
 * sequence of random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "gateway/outbox.h"

enum { MANY = 1000000 };

/* Pushes a frame of `len` bytes that only the outbox holds, its first byte `mark`. */
static size_t push(struct outbox *outbox, char mark, size_t len, size_t max_frames,
		   size_t max_bytes)
{
	struct frame *frame = frame_new(len);
	size_t dropped;

	memset(frame->bytes, mark, len);
	dropped = outbox_push(outbox, frame, max_frames, max_bytes);
	frame_release(frame);
	return dropped;
}

static void assert_popped(struct outbox *outbox, char mark)
{
	struct frame *frame = outbox_pop(outbox);

	assert_non_null(frame);
	assert_int_equal(frame->bytes[0], mark);
	assert_int_equal(frame->references, 1); /* ours now */
	frame_release(frame);
}

static void none_and_an_empty_one_hold_nothing(void **state)
{
	struct outbox *outbox = outbox_new();

	(void)state;
	assert_int_equal(outbox_count(outbox), 0);
	assert_int_equal(outbox_bytes(outbox), 0);
	assert_null(outbox_pop(outbox));
	assert_int_equal(outbox_count(NULL), 0);
	assert_int_equal(outbox_bytes(NULL), 0);
	outbox_free(outbox);
	outbox_free(NULL);
}

static void frames_come_out_in_the_order_they_went_in(void **state)
{
	struct outbox *outbox = outbox_new();

	(void)state;
	for (int mark = 'a'; mark <= 'z'; mark++)
		assert_int_equal(push(outbox, (char)mark, 10, MANY, MANY), 0);
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
	struct outbox *one = outbox_new(), *two = outbox_new();
	struct frame *frame = frame_of_text("shared");

	(void)state;
	outbox_push(one, frame, MANY, MANY);
	outbox_push(two, frame, MANY, MANY);
	outbox_push(two, frame, MANY, MANY);
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

static void too_many_frames_drop_the_oldest(void **state)
{
	struct outbox *outbox = outbox_new();

	(void)state;
	assert_int_equal(push(outbox, 'a', 10, 3, MANY), 0);
	assert_int_equal(push(outbox, 'b', 10, 3, MANY), 0);
	assert_int_equal(push(outbox, 'c', 10, 3, MANY), 0);
	assert_int_equal(push(outbox, 'd', 10, 3, MANY), 1);
	assert_int_equal(outbox_count(outbox), 3);
	assert_int_equal(push(outbox, 'e', 10, 2, MANY), 2); /* the limit came down */
	assert_int_equal(outbox_count(outbox), 2);
	assert_int_equal(outbox_bytes(outbox), 20);
	assert_popped(outbox, 'd');
	assert_popped(outbox, 'e');
	outbox_free(outbox);
}

static void too_many_bytes_drop_as_many_of_the_oldest_as_it_takes(void **state)
{
	struct outbox *outbox = outbox_new();

	(void)state;
	assert_int_equal(push(outbox, 'a', 40, MANY, 100), 0);
	assert_int_equal(push(outbox, 'b', 40, MANY, 100), 0);
	assert_int_equal(push(outbox, 'c', 20, MANY, 100), 0); /* just full */
	assert_int_equal(push(outbox, 'd', 1, MANY, 100), 1);
	assert_int_equal(outbox_bytes(outbox), 61);
	assert_int_equal(push(outbox, 'e', 80, MANY, 100), 2);
	assert_int_equal(outbox_bytes(outbox), 81);
	assert_popped(outbox, 'd');
	assert_popped(outbox, 'e');
	outbox_free(outbox);
}

static void the_newest_always_fits(void **state)
{
	struct outbox *outbox = outbox_new();

	(void)state;
	assert_int_equal(push(outbox, 'a', 10, MANY, 100), 0);
	assert_int_equal(push(outbox, 'b', 1000, MANY, 100), 1);
	assert_int_equal(outbox_count(outbox), 1);
	assert_int_equal(outbox_bytes(outbox), 1000);
	assert_int_equal(push(outbox, 'c', 10, MANY, 100), 1);
	assert_int_equal(push(outbox, 'd', 10, 0, 0), 1); /* whatever the limits */
	assert_popped(outbox, 'd');
	assert_int_equal(push(outbox, 'e', 10, 0, 0), 0);
	assert_popped(outbox, 'e');
	outbox_free(outbox);
}

/* The model: all frames ever pushed are numbered; first to last of them are queued. */
static void random_steps_agree_with_an_array(void **state)
{
	enum { STEPS = 100000, MAX_FRAMES = 100, MAX_BYTES = 3000 };
	static size_t lens[STEPS];
	unsigned short random_state[3] = {1981};
	struct outbox *outbox = outbox_new();
	size_t first = 0, last = 0, bytes = 0;

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		size_t mood = (size_t)step / 1000 % 9 + 1; /* fills, empties, fills */

		if ((size_t)nrand48(random_state) % 10 < mood) {
			size_t len = 1 + (size_t)nrand48(random_state) % 60, dropped = 0;

			for (; last > first &&
			       (last - first >= MAX_FRAMES || bytes + len > MAX_BYTES);
			     first++, dropped++)
				bytes -= lens[first];
			lens[last] = len;
			bytes += len;
			assert_int_equal(push(outbox, (char)last, len, MAX_FRAMES, MAX_BYTES),
					 dropped);
			last++;
		} else if (first == last) {
			assert_null(outbox_pop(outbox));
		} else {
			assert_popped(outbox, (char)first);
			bytes -= lens[first++];
		}
		assert_int_equal(outbox_count(outbox), last - first);
		assert_int_equal(outbox_bytes(outbox), bytes);
	}
	outbox_free(outbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_and_an_empty_one_hold_nothing),
		cmocka_unit_test(frames_come_out_in_the_order_they_went_in),
		cmocka_unit_test(it_takes_a_reference_of_its_own_and_hands_it_on),
		cmocka_unit_test(too_many_frames_drop_the_oldest),
		cmocka_unit_test(too_many_bytes_drop_as_many_of_the_oldest_as_it_takes),
		cmocka_unit_test(the_newest_always_fits),
		cmocka_unit_test(random_steps_agree_with_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
