/*
 * The queue of a connection that is behind, see outbox.h. State: a ring of frame references that
 * grows by doubling. Never blocks.
 */
#include "gateway/client/outbox.h"

#include "shared/base/alloc.h"

enum { FIRST_CAPACITY = 8 }; /* a power of two, like all that follow */

struct outbox {
	struct outbox_pool *pool;
	struct frame **ring;
	size_t capacity, first, count;
	size_t bytes;
	bool has_begun; /* the first frame */
	size_t written; /* of its wire */
};

struct outbox *outbox_new(struct outbox_pool *pool)
{
	struct outbox *outbox = xcalloc(1, sizeof(*outbox));

	outbox->pool = pool;
	outbox->capacity = FIRST_CAPACITY;
	outbox->ring = xcalloc(outbox->capacity, sizeof(struct frame *));
	return outbox;
}

void outbox_free(struct outbox *outbox)
{
	struct frame *frame;

	if (!outbox)
		return;
	while ((frame = outbox_pop(outbox)))
		frame_release(frame);
	free(outbox->ring);
	free(outbox);
}

static struct frame **place(const struct outbox *outbox, size_t index)
{
	return &outbox->ring[(outbox->first + index) & (outbox->capacity - 1)];
}

bool outbox_pool_has_room(const struct outbox_pool *pool, const struct frame *frame)
{
	return frame->waiting > 0 || pool->bytes + frame->len <= pool->max_bytes;
}

bool outbox_has_room(const struct outbox *outbox, const struct frame *frame,
		     struct outbox_limits limits)
{
	size_t waiting = outbox->count - outbox->has_begun;

	if (!outbox_pool_has_room(outbox->pool, frame))
		return false;
	return waiting == 0 ||
	       (waiting < limits.frames && outbox->bytes + frame->len <= limits.bytes);
}

void outbox_push(struct outbox *outbox, struct frame *frame)
{
	if (outbox->count == outbox->capacity) {
		struct frame **ring = xcalloc(outbox->capacity * 2, sizeof(struct frame *));

		for (size_t i = 0; i < outbox->count; i++)
			ring[i] = *place(outbox, i);
		free(outbox->ring);
		outbox->ring = ring;
		outbox->first = 0;
		outbox->capacity *= 2;
	}
	*place(outbox, outbox->count) = frame_hold(frame);
	outbox->count++;
	outbox->bytes += frame->len;
	if (frame->waiting++ == 0)
		outbox->pool->bytes += frame->len;
}

struct frame *outbox_pop(struct outbox *outbox)
{
	if (outbox->count == 0)
		return NULL;

	struct frame *frame = *place(outbox, 0);
	outbox->first = (outbox->first + 1) & (outbox->capacity - 1);
	outbox->count--;
	outbox->has_begun = false;
	outbox->written = 0;
	outbox->bytes -= frame->len;
	if (--frame->waiting == 0)
		outbox->pool->bytes -= frame->len;
	return frame;
}

/* The few frames before it, which stay, move up, so that it is the first and can go. */
static void drop(struct outbox *outbox, size_t at)
{
	struct frame *frame = *place(outbox, at);
	bool has_begun = outbox->has_begun && at > 0;
	size_t written = outbox->written;

	for (; at > 0; at--)
		*place(outbox, at) = *place(outbox, at - 1);
	*place(outbox, 0) = frame;
	frame_release(outbox_pop(outbox));
	outbox->has_begun = has_begun;
	outbox->written = has_begun ? written : 0;
}

bool outbox_drop_oldest_push(struct outbox *outbox)
{
	size_t at = outbox->has_begun;

	while (at < outbox->count && !(*place(outbox, at))->is_push)
		at++;
	if (at >= outbox->count)
		return false;
	drop(outbox, at);
	return true;
}

void outbox_clear(struct outbox *outbox)
{
	size_t stays = outbox && outbox->written > 0;

	while (outbox && outbox->count > stays)
		drop(outbox, stays);
}

struct frame *outbox_peek(const struct outbox *outbox, size_t index)
{
	return outbox && index < outbox->count ? *place(outbox, index) : NULL;
}

void outbox_begin(struct outbox *outbox, size_t written)
{
	outbox->has_begun = true;
	outbox->written = written;
}

size_t outbox_written(const struct outbox *outbox)
{
	return outbox ? outbox->written : 0;
}

size_t outbox_count(const struct outbox *outbox)
{
	return outbox ? outbox->count : 0;
}

size_t outbox_count_pushes(const struct outbox *outbox)
{
	size_t pushes = 0;

	for (size_t i = 0; i < outbox_count(outbox); i++)
		pushes += (*place(outbox, i))->is_push;
	return pushes;
}

size_t outbox_bytes(const struct outbox *outbox)
{
	return outbox ? outbox->bytes : 0;
}
