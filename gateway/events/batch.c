/*
 * Joined pushes, see batch.h. State: in each batch. A batch of one, the usual case, is just its
 * frame, and nothing is copied. Never blocks.
 */
#include "gateway/events/batch.h"

#include <inttypes.h>

#include "shared/base/alloc.h"

struct batch *batch_new(const struct feed_event *event)
{
	struct batch *batch = xcalloc(1, sizeof(*batch) + event->topic_len);

	batch->kind = event->kind;
	batch->order_id = event->id;
	batch->is_for_user = event->has_user || event->topic_len == 0;
	batch->user_id = event->user_id;
	batch->topic_len = event->topic_len;
	memcpy(batch->topic, event->topic, event->topic_len);
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	for (size_t form = 0; form < PUSH_FORMS; form++) {
		struct joined *joined = &batch->joined[form];

		if (joined->bytes && batch->count > 1)
			free((char *)(uintptr_t)joined->bytes);
		for (size_t i = 0; joined->frames && i < batch->count; i++)
			frame_release(joined->frames[i]);
		free(joined->frames);
		free(joined->ends);
	}
	for (size_t i = 0; i < batch->count; i++)
		free(batch->pushes[i].position);
	free(batch->pushes);
	free(batch);
}

void batch_add(struct batch *batch, const struct feed_event *push)
{
	struct joined *plain = &batch->joined[PUSH_PLAIN];

	if (batch->count == batch->capacity) {
		batch->capacity = batch->capacity ? batch->capacity * 2 : 1;
		batch->pushes =
			xreallocarray(batch->pushes, batch->capacity, sizeof(*batch->pushes));
		plain->frames =
			xreallocarray(plain->frames, batch->capacity, sizeof(struct frame *));
	}
	struct batch_push *added = &batch->pushes[batch->count];
	*added = (struct batch_push){
		.id = push->id,
		.created_ms = push->created_ms,
		.node = push->node,
		.number = push->number,
	};
	if (push->position) { /* it is another one with the next event */
		char id[POSITION_TEXT_SIZE];

		added->position = xstrndup(id, feed_event_id(push, id));
	}
	plain->frames[batch->count++] = frame_of_push(NULL, push->payload, push->payload_len);
}

struct frame *batch_push_frame(const struct batch *batch, size_t i, const char *id)
{
	size_t len;
	const char *payload = frame_push_payload(batch->joined[PUSH_PLAIN].frames[i], &len);

	return frame_of_push(id, payload, len);
}

/* A push in another form, with the payload of the plain one. */
static struct frame *make(const struct batch *batch, size_t i, unsigned form)
{
	const struct batch_push *push = &batch->pushes[i];
	const char *id = NULL;
	char number[24];

	if (form & PUSH_WITH_ID && !(id = push->position)) {
		snprintf(number, sizeof(number), "%" PRId64, push->id);
		id = number;
	}
	struct frame *frame = batch_push_frame(batch, i, id);
	if (form & PUSH_AS_EVENT) {
		struct frame *text = frame;

		frame = frame_of_event(text);
		frame_release(text);
	}
	return frame;
}

const struct joined *batch_join(struct batch *batch, unsigned form)
{
	struct joined *joined = &batch->joined[form];
	size_t len, end = 0;
	char *bytes;

	if (joined->bytes)
		return joined;
	if (form != PUSH_PLAIN)
		joined->frames = xreallocarray(NULL, batch->count, sizeof(struct frame *));
	joined->ends = xreallocarray(NULL, batch->count, sizeof(*joined->ends));
	joined->is_short = true;
	for (size_t i = 0; i < batch->count; i++) {
		if (form != PUSH_PLAIN)
			joined->frames[i] = make(batch, i, form);
		frame_wire(joined->frames[i], &len);
		joined->ends[i] = end += len;
		joined->is_short = joined->is_short && frame_is_short(joined->frames[i]);
	}
	if (batch->count == 1) {
		joined->bytes = frame_wire(joined->frames[0], &len);
		return joined;
	}
	joined->bytes = bytes = xreallocarray(NULL, end, 1);
	for (size_t i = 0; i < batch->count; i++) {
		const char *wire = frame_wire(joined->frames[i], &len);

		memcpy(bytes + joined->ends[i] - len, wire, len);
	}
	return joined;
}

size_t batch_first_after(const struct batch *batch, int64_t id)
{
	size_t first = 0;

	while (first < batch->count && batch->pushes[first].id <= id)
		first++;
	return first;
}
