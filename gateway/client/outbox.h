/*
 * What one connection has yet to be sent: a queue of shared frames. Only a connection that is
 * behind has one. All outboxes together have a pool, which counts the bytes of each waiting frame
 * once, however many are waiting for it. Pure; one thread.
 */
#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/events/frame.h"

struct outbox;

struct outbox_pool {
	size_t bytes, max_bytes; /* what the transport holds back counts too: delivery.c */
};

/* How much one outbox may hold. */
struct outbox_limits {
	size_t frames, bytes;
};

/* `pool` is borrowed. */
struct outbox *outbox_new(struct outbox_pool *pool);

/* Releases what is still queued. NULL is allowed. */
void outbox_free(struct outbox *outbox);

/* True when `frame` can be pushed within the limits and the pool. A frame that has begun counts in
 * bytes only, and an outbox with nothing else in it takes a frame of any length for which the pool
 * has room. */
bool outbox_has_room(const struct outbox *outbox, const struct frame *frame,
		     struct outbox_limits limits);

/* True when the pool has room for it. */
bool outbox_pool_has_room(const struct outbox_pool *pool, const struct frame *frame);

/* Queues it, whether there is room or not, with a reference of its own. */
void outbox_push(struct outbox *outbox, struct frame *frame);

/* Drops the oldest push, unless it has begun; other frames stay. False when there is none. */
bool outbox_drop_oldest_push(struct outbox *outbox);

/* Drops all but a first frame that is partly written. NULL is allowed. */
void outbox_clear(struct outbox *outbox);

/* The frame that comes after `index` others, still owned by the outbox; NULL when there are
 * fewer. */
struct frame *outbox_peek(const struct outbox *outbox, size_t index);

/* The first frame is on its way: `written` bytes of it have gone. */
void outbox_begin(struct outbox *outbox, size_t written);
size_t outbox_written(const struct outbox *outbox);

/* The oldest frame, now the caller's to release; NULL when it is empty. */
struct frame *outbox_pop(struct outbox *outbox);

/* 0 for NULL. */
size_t outbox_count(const struct outbox *outbox);
size_t outbox_count_pushes(const struct outbox *outbox);
size_t outbox_bytes(const struct outbox *outbox);

#endif
