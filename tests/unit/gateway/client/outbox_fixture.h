/*
 * For tests of the queue of a connection that is behind: a pool for each test, which must be empty
 * at its end, and frames that are told apart by their first byte. Include it once, in the test
 * program.
 */
#ifndef TESTS_UNIT_OUTBOX_FIXTURE_H
#define TESTS_UNIT_OUTBOX_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "gateway/client/outbox.h"

enum { MANY = 1000000 };

static struct outbox_pool pool;

static inline int empty_pool(void **state)
{
	(void)state;
	pool = (struct outbox_pool){.max_bytes = MANY};
	return 0;
}

/* Whatever a test did, an outbox that is freed leaves nothing behind. */
static inline int look_at_pool(void **state)
{
	(void)state;
	assert_int_equal(pool.bytes, 0);
	return 0;
}

#define OUTBOX_TEST(test) cmocka_unit_test_setup_teardown(test, empty_pool, look_at_pool)

/* A frame of `len` bytes, its first byte `mark`. */
static inline struct frame *new_frame(char mark, size_t len, bool is_push)
{
	struct frame *frame = frame_new(len);

	memset(frame->bytes, mark, len);
	frame->is_push = is_push;
	return frame;
}

/* Queues a frame that only the outbox holds. */
static inline void add(struct outbox *outbox, char mark, size_t len, bool is_push)
{
	struct frame *frame = new_frame(mark, len, is_push);

	outbox_push(outbox, frame);
	frame_release(frame);
}

static inline void assert_popped(struct outbox *outbox, char mark)
{
	struct frame *frame = outbox_pop(outbox);

	assert_non_null(frame);
	assert_int_equal(frame->bytes[0], mark);
	assert_int_equal(frame->references, 1); /* ours now */
	assert_int_equal(frame->waiting, 0);
	frame_release(frame);
}

#endif
