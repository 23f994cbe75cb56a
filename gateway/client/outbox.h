/*
 * What one connection still has to be sent: a queue of shared frames. Only a connection that is
 * behind has one. All outboxes together have a pool, which counts the bytes of each waiting frame
 * once, however many wait for it. Pure; one thread.
 */
#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/events/frame.h"

struct outbox;

struct outbox_pool {
	size_t bytes, max_bytes;
};

/* How much one outbox may hold. */
struct outbox_limits {
	size_t frames, bytes;
};

/* `pool` is borrowed. */
struct outbox *outbox_new(struct outbox_pool *pool);

/* Releases what is still queued. NULL is allowed. */
void outbox_free(struct outbox *outbox);

/* True when `frame` can be pushed within the limits and the pool. An empty outbox takes a frame of
 * any length that the pool has room for. */
bool outbox_has_room(const struct outbox *outbox, const struct frame *frame,
		     struct outbox_limits limits);

/* True when the pool has room for it. */
bool outbox_pool_has_room(const struct outbox_pool *pool, const struct frame *frame);

/* Queues it, room or not, with a reference of its own. */
void outbox_push(struct outbox *outbox, struct frame *frame);

/* Drops the oldest push; other frames stay. False when there is none. */
bool outbox_drop_oldest_push(struct outbox *outbox);

/* The oldest frame, now the caller's to release; NULL when it is empty. */
struct frame *outbox_pop(struct outbox *outbox);

/* 0 for NULL. */
size_t outbox_count(const struct outbox *outbox);
size_t outbox_count_pushes(const struct outbox *outbox);
size_t outbox_bytes(const struct outbox *outbox);

#endif
