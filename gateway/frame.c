/* Shared frames, see frame.h. State: a reference count in each. */
#include "gateway/frame.h"

#include <assert.h>

#include "shared/alloc.h"

/* libwebsockets writes the header of a frame into the room before the bytes: they must touch. */
static_assert(offsetof(struct frame, bytes) == offsetof(struct frame, room) + FRAME_ROOM,
	      "the room lies right before the bytes");

struct frame *frame_new(size_t len)
{
	struct frame *frame = xreallocarray(NULL, 1, sizeof(*frame) + len);

	frame->references = 1;
	frame->waiting = 0;
	frame->is_push = false;
	frame->len = len;
	return frame;
}

struct frame *frame_of_text(const char *text)
{
	struct frame *frame = frame_new(strlen(text));

	memcpy(frame->bytes, text, frame->len);
	return frame;
}

struct frame *frame_hold(struct frame *frame)
{
	frame->references++;
	return frame;
}

void frame_release(struct frame *frame)
{
	if (frame && --frame->references == 0)
		free(frame);
}
