/*
 * Frames to one connection: straight to the kernel while it keeps up, through its outbox when it is
 * behind. It says what happened and ends nothing: that is up to the session.
 */
#ifndef GATEWAY_DELIVERY_H
#define GATEWAY_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/events/batch.h"

struct session;

enum delivery {
	DELIVERY_SENT, /* the kernel has it; nothing waits */
	DELIVERY_QUEUED, /* some of it waits; older pushes may have been dropped for it */
	DELIVERY_FULL, /* there was no room: the connection must be sent away */
	DELIVERY_BROKEN /* the connection must be dropped */
};

/* Takes its own reference; a stream gets a frame as an event, unless it is bare. There is always
 * room for the last words of a session, unless the pool is full. */
enum delivery delivery_send(struct session *session, struct frame *frame);

/* The pushes of `joined` from number `first` up to, but not including, number `end`. */
enum delivery delivery_send_joined(struct session *session, const struct joined *joined,
				   size_t first, size_t end);

/* Sends what waits, as far as the kernel takes it. If it takes some, the client reads: it is alive.
 */
enum delivery delivery_flush(struct session *session);

/* True when all that was sent has gone to the kernel. */
bool delivery_is_done(const struct session *session);

/* Forgets what is queued, except the rest of a frame that has begun. */
void delivery_clear(struct session *session);

/* The connection is gone. */
void delivery_end(struct session *session);

#endif
