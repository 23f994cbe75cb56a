/* The queue of a connection that is behind, see outbox.h. State: a ring of frame references that
 * grows by doubling. */
#include "gateway/outbox.h"

#include "shared/alloc.h"

enum { FIRST_CAPACITY = 8 };

struct outbox {
	struct frame **ring;
	size_t capacity, first, count;
	size_t bytes;
};

struct outbox *outbox_new(void)
{
	struct outbox *outbox = xcalloc(1, sizeof(*outbox));

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

static void grow(struct outbox *outbox)
{
	struct frame **ring = xcalloc(outbox->capacity * 2, sizeof(struct frame *));

	for (size_t i = 0; i < outbox->count; i++)
		ring[i] = outbox->ring[(outbox->first + i) % outbox->capacity];
	free(outbox->ring);
	outbox->ring = ring;
	outbox->first = 0;
	outbox->capacity *= 2;
}

struct frame *outbox_pop(struct outbox *outbox)
{
	if (outbox->count == 0)
		return NULL;

	struct frame *frame = outbox->ring[outbox->first];
	outbox->first = (outbox->first + 1) % outbox->capacity;
	outbox->count--;
	outbox->bytes -= frame->len;
	return frame;
}

size_t outbox_push(struct outbox *outbox, struct frame *frame, size_t max_frames, size_t max_bytes)
{
	size_t dropped = 0;

	while (outbox->count > 0 &&
	       (outbox->count >= max_frames || outbox->bytes + frame->len > max_bytes)) {
		frame_release(outbox_pop(outbox));
		dropped++;
	}
	if (outbox->count == outbox->capacity)
		grow(outbox);
	outbox->ring[(outbox->first + outbox->count) % outbox->capacity] = frame_hold(frame);
	outbox->count++;
	outbox->bytes += frame->len;
	return dropped;
}

size_t outbox_count(const struct outbox *outbox)
{
	return outbox ? outbox->count : 0;
}

size_t outbox_bytes(const struct outbox *outbox)
{
	return outbox ? outbox->bytes : 0;
}
