/*
 * What one connection still has to be sent: a queue of shared frames, bounded by count and by
 * bytes. Only a connection that is behind has one. When it is full the oldest frames go, never the
 * newest. Pure; one thread.
 */
#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include <stddef.h>

#include "gateway/frame.h"

struct outbox;

struct outbox *outbox_new(void);

/* Releases what is still queued. NULL is allowed. */
void outbox_free(struct outbox *outbox);

/* Takes a reference of its own. Returns how many of the oldest frames were dropped to stay within
 * `max_frames` and `max_bytes`; the new frame always fits. */
size_t outbox_push(struct outbox *outbox, struct frame *frame, size_t max_frames, size_t max_bytes);

/* The oldest frame, now the caller's to release; NULL when it is empty. */
struct frame *outbox_pop(struct outbox *outbox);

/* Both 0 for NULL. */
size_t outbox_count(const struct outbox *outbox);
size_t outbox_bytes(const struct outbox *outbox);

#endif
