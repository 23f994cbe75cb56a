/*
 * A text frame on its way out: built once, shared by all who get it, freed by the last one. One
 * thread.
 */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>

/* Room that libwebsockets needs in front of the bytes (LWS_PRE, checked in peer.c). */
enum { FRAME_ROOM = 16 };

struct frame {
	size_t references;
	size_t len;
	size_t waiting; /* in how many outboxes; outbox.c's */
	bool is_push; /* a full outbox may lose it */
	char room[FRAME_ROOM];
	char bytes[]; /* `len` of them */
};

/* A frame with room for `len` bytes and one reference, the caller's. */
struct frame *frame_new(size_t len);

/* A frame that holds this constant text. */
struct frame *frame_of_text(const char *text);

struct frame *frame_hold(struct frame *frame);

/* NULL is allowed. */
void frame_release(struct frame *frame);

#endif
