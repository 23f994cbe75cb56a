/*
 * One subscriber: connects, shakes hands, authenticates, and checks each push that comes.
 */
#ifndef BENCH_SUBSCRIBER_H
#define BENCH_SUBSCRIBER_H

#include <stddef.h>
#include <stdint.h>

#include "tests/bench/loop.h"

struct group;
struct partial;

/* Publishers of one group, each with a sequence of its own: only what one publisher sent has an
 * order. The number of a push begins with the lane. */
enum { LANES = 8, LANE_SHIFT = 24 };

enum subscriber_state {
	SUBSCRIBER_CONNECTING,
	SUBSCRIBER_HANDSHAKE,
	SUBSCRIBER_AUTH,
	SUBSCRIBER_OPEN,
	SUBSCRIBER_CLOSED
};

struct subscriber {
	struct watched watched;
	enum subscriber_state state;
	struct group *group;
	uint32_t number; /* in its group */
	uint32_t received[LANES]; /* pushes: the sequence number that must come next */
	struct partial *partial; /* what has come of a frame that is not whole yet, else NULL */
};

/* Begins to connect; the group's `open` is counted up when it is through. */
void subscriber_start(struct subscriber *subscriber, struct group *group, size_t number);

void subscriber_on_event(struct subscriber *subscriber);

/* Ends the connection by a reset. */
void subscriber_drop(struct subscriber *subscriber);

#endif
