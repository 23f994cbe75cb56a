/*
 * Joined pushes, see batch.h. State: in each batch. A batch of one, the usual case, is just its
 * frame, and nothing is copied. Never blocks.
 */
#include "gateway/events/batch.h"

#include "shared/base/alloc.h"

struct batch *batch_new(const char *topic, size_t topic_len)
{
	struct batch *batch = xcalloc(1, sizeof(*batch) + topic_len);

	memcpy(batch->topic, topic, topic_len);
	batch->topic_len = topic_len;
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
	free(batch->ids);
	free(batch->created_ms);
	free(batch);
}

void batch_add(struct batch *batch, int64_t id, int64_t created_ms, const char *payload,
	       size_t payload_len)
{
	struct joined *plain = &batch->joined[PUSH_PLAIN];

	if (batch->count == batch->capacity) {
		batch->capacity = batch->capacity ? batch->capacity * 2 : 1;
		batch->ids = xreallocarray(batch->ids, batch->capacity, sizeof(*batch->ids));
		batch->created_ms = xreallocarray(batch->created_ms, batch->capacity,
						  sizeof(*batch->created_ms));
		plain->frames =
			xreallocarray(plain->frames, batch->capacity, sizeof(struct frame *));
	}
	batch->ids[batch->count] = id;
	batch->created_ms[batch->count] = created_ms;
	plain->frames[batch->count++] = frame_of_push(0, payload, payload_len);
}

/* The payload is taken from the frame without the id. */
static void make_frames_with_ids(struct batch *batch)
{
	struct joined *with_id = &batch->joined[PUSH_WITH_ID];

	with_id->frames = xreallocarray(NULL, batch->count, sizeof(struct frame *));
	for (size_t i = 0; i < batch->count; i++) {
		size_t len;
		const char *payload = frame_push_payload(batch->joined[PUSH_PLAIN].frames[i], &len);

		with_id->frames[i] = frame_of_push(batch->ids[i], payload, len);
	}
}

const struct joined *batch_join(struct batch *batch, enum push_form form)
{
	struct joined *joined = &batch->joined[form];
	size_t len, end = 0;

	if (joined->bytes)
		return joined;
	if (!joined->frames)
		make_frames_with_ids(batch);
	joined->ends = xreallocarray(NULL, batch->count, sizeof(*joined->ends));
	joined->is_short = true;
	for (size_t i = 0; i < batch->count; i++) {
		frame_wire(joined->frames[i], &len);
		joined->ends[i] = end += len;
		joined->is_short = joined->is_short && frame_is_short(joined->frames[i]);
	}
	if (batch->count == 1) {
		joined->bytes = frame_wire(joined->frames[0], &len);
		return joined;
	}

	char *bytes = xreallocarray(NULL, end, 1);
	for (size_t i = 0; i < batch->count; i++) {
		const char *wire = frame_wire(joined->frames[i], &len);

		memcpy(bytes + joined->ends[i] - len, wire, len);
	}
	joined->bytes = bytes;
	return joined;
}

size_t batch_first_after(const struct batch *batch, int64_t id)
{
	size_t first = 0;

	while (first < batch->count && batch->ids[first] <= id)
		first++;
	return first;
}
