// needs: gateway/outbox.c gateway/frame.c
/*
 * The queue of a connection that is behind, and the pool of all of them: sentence by sentence, and
 * against arrays by a fixed sequence of random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "gateway/outbox.h"

enum { MANY = 1000000 };

static const struct outbox_limits no_limits = {.frames = MANY, .bytes = MANY};
static struct outbox_pool pool;

static int empty_pool(void **state)
{
	(void)state;
	pool = (struct outbox_pool){.max_bytes = MANY};
	return 0;
}

/* Whatever a test did, an outbox that is freed leaves nothing behind. */
static int look_at_pool(void **state)
{
	(void)state;
	assert_int_equal(pool.bytes, 0);
	return 0;
}

#define OUTBOX_TEST(test) cmocka_unit_test_setup_teardown(test, empty_pool, look_at_pool)

/* A frame of `len` bytes, its first byte `mark`. */
static struct frame *new_frame(char mark, size_t len, bool is_push)
{
	struct frame *frame = frame_new(len);

	memset(frame->bytes, mark, len);
	frame->is_push = is_push;
	return frame;
}

/* Queues a frame that only the outbox holds. */
static void add(struct outbox *outbox, char mark, size_t len, bool is_push)
{
	struct frame *frame = new_frame(mark, len, is_push);

	outbox_push(outbox, frame);
	frame_release(frame);
}

static bool has_room(const struct outbox *outbox, size_t len, size_t frames, size_t bytes)
{
	const struct outbox_limits limits = {.frames = frames, .bytes = bytes};
	struct frame *frame = new_frame('x', len, true);
	bool room = outbox_has_room(outbox, frame, limits);

	frame_release(frame);
	return room;
}

static void assert_popped(struct outbox *outbox, char mark)
{
	struct frame *frame = outbox_pop(outbox);

	assert_non_null(frame);
	assert_int_equal(frame->bytes[0], mark);
	assert_int_equal(frame->references, 1); /* ours now */
	assert_int_equal(frame->waiting, 0);
	frame_release(frame);
}

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

/* The model of one outbox: its frames in order, a number each. */
enum { STEPS = 100000, MOST = 200, OUTBOXES = 3 };

struct model {
	struct outbox *outbox;
	size_t count, bytes;
	struct frame *frames[MOST];
};

static struct model models[OUTBOXES];

static void forget(struct model *model, size_t at)
{
	model->bytes -= model->frames[at]->len;
	model->count--;
	memmove(&model->frames[at], &model->frames[at + 1],
		(model->count - at) * sizeof(struct frame *));
}

static void model_push(struct model *model, struct frame *frame)
{
	if (model->count == MOST)
		return;
	outbox_push(model->outbox, frame);
	model->frames[model->count++] = frame;
	model->bytes += frame->len;
}

static void model_pop(struct model *model)
{
	struct frame *frame = outbox_pop(model->outbox);

	assert_ptr_equal(frame, model->count > 0 ? model->frames[0] : NULL);
	if (frame)
		forget(model, 0);
	frame_release(frame);
}

static void model_drop(struct model *model)
{
	size_t at = 0;

	while (at < model->count && !model->frames[at]->is_push)
		at++;
	bool has_push = at < model->count;
	if (has_push)
		forget(model, at);
	assert_int_equal(outbox_drop_oldest_push(model->outbox), has_push);
}

static size_t model_pushes(const struct model *model)
{
	size_t pushes = 0;

	for (size_t i = 0; i < model->count; i++)
		pushes += model->frames[i]->is_push;
	return pushes;
}

/* What the pool must say: each frame that waits anywhere once. */
static size_t pool_of_models(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < OUTBOXES; i++) {
		for (size_t j = 0; j < models[i].count; j++) {
			struct frame *frame = models[i].frames[j];
			bool seen = false;

			for (size_t k = 0; k < i && !seen; k++)
				for (size_t l = 0; l < models[k].count && !seen; l++)
					seen = models[k].frames[l] == frame;
			for (size_t l = 0; l < j && !seen; l++)
				seen = models[i].frames[l] == frame;
			bytes += seen ? 0 : frame->len;
		}
	}
	return bytes;
}

static void random_steps_agree_with_arrays(void **state)
{
	unsigned short random_state[3] = {1981};

	(void)state;
	for (size_t i = 0; i < OUTBOXES; i++)
		models[i] = (struct model){.outbox = outbox_new(&pool)};
	for (size_t step = 0; step < STEPS; step++) {
		size_t mood = step / 1000 % 9 + 1; /* fills, empties, fills */
		size_t chance = (size_t)nrand48(random_state);
		struct model *model = &models[chance / 10 % OUTBOXES];

		if (chance % 10 < mood) {
			struct frame *frame =
				new_frame('r', 1 + chance / 100 % 60, chance % 7 != 0);

			for (size_t i = 0; i < 1 + chance / 1000 % OUTBOXES; i++)
				model_push(&models[(chance / 10 + i) % OUTBOXES], frame);
			frame_release(frame);
		} else if (chance % 2) {
			model_pop(model);
		} else {
			model_drop(model);
		}
		assert_int_equal(outbox_count(model->outbox), model->count);
		assert_int_equal(outbox_bytes(model->outbox), model->bytes);
		assert_int_equal(outbox_count_pushes(model->outbox), model_pushes(model));
		if (step % 97 == 0)
			assert_int_equal(pool.bytes, pool_of_models());
	}
	for (size_t i = 0; i < OUTBOXES; i++)
		outbox_free(models[i].outbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTBOX_TEST(none_and_an_empty_one_hold_nothing),
		OUTBOX_TEST(frames_come_out_in_the_order_they_went_in),
		OUTBOX_TEST(it_takes_a_reference_of_its_own_and_hands_it_on),
		OUTBOX_TEST(there_is_room_up_to_the_limit_of_frames),
		OUTBOX_TEST(there_is_room_up_to_the_limit_of_bytes),
		OUTBOX_TEST(an_empty_one_takes_a_frame_of_any_length),
		OUTBOX_TEST(a_push_without_room_is_queued_all_the_same),
		OUTBOX_TEST(the_oldest_push_is_dropped),
		OUTBOX_TEST(frames_that_are_no_pushes_are_never_dropped_and_keep_their_order),
		OUTBOX_TEST(what_is_dropped_is_the_oldest_wherever_the_ring_begins),
		OUTBOX_TEST(the_pool_counts_a_shared_frame_once_until_the_last_lets_it_go),
		OUTBOX_TEST(a_full_pool_has_room_only_for_what_waits_already),
		OUTBOX_TEST(the_pool_has_room_or_not_whatever_the_outboxes),
		OUTBOX_TEST(what_waits_already_has_to_fit_the_outbox_too),
		OUTBOX_TEST(random_steps_agree_with_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
