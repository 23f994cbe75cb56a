/*
 * A text on its way out: built once, shared by everyone who gets it, freed by the last. It is a
 * text frame of a WebSocket; or, bare, what a stream gets: an event with the same text, or the head
 * of its answer. Also the texts of pushes and of the status. One thread.
 */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/counters/gauges.h"

/* The longest header of a frame from a server (RFC 6455, section 5.2), rounded up. */
enum { FRAME_ROOM = 16 };

struct frame {
	size_t references;
	size_t len;
	size_t waiting; /* in how many outboxes; for outbox.c */
	uint16_t id_at, id_len; /* in the bytes of a push that says its id; 0: it does not */
	bool is_push; /* a full outbox may lose it */
	bool is_bare; /* as it is on the wire */
	char room[FRAME_ROOM]; /* for the header, which is right before the bytes */
	char bytes[]; /* `len` of them */
};

/* A frame with room for `len` bytes and one reference, the caller's. */
struct frame *frame_new(size_t len);

/* A frame with this constant text. */
struct frame *frame_of_text(const char *text);

/* The frame {"type":"push","payload":<payload>}; or with an `id`, a number or string in JSON, as
 * resumable connections get it: {"type":"push","id":<id>,"payload":<payload>}. */
struct frame *frame_of_push(const char *id, const char *payload, size_t payload_len);

/* A frame's text as a server-sent event: "data: " and the text, a line with its id if it has one,
 * and an empty line. A line break in the text (CR, LF or both) begins another "data: " line. */
struct frame *frame_of_event(const struct frame *text);

/* The payload of one that was made without an id. */
const char *frame_push_payload(const struct frame *push, size_t *len);

/* {"type":"status","payload":{"status":"ok","version":...,"uptime":...,"uptime_seconds":...,...}}
 */
struct frame *frame_of_status(const struct gauges *gauges);

/* True when its rest may be copied for a connection that has taken half of it. */
bool frame_is_short(const struct frame *frame);

/* The frame as it is on the wire, header and all; *len is its length. The text must not change
 * afterwards, because everyone gets the same. */
const char *frame_wire(struct frame *frame, size_t *len);

struct frame *frame_hold(struct frame *frame);

/* NULL is allowed. */
void frame_release(struct frame *frame);

#endif
