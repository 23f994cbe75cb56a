/*
 * A socket that is connected to Redis. Looking up the name of its host blocks, and cannot be given
 * up once it has begun, not with libuv either, whose threads a process that ends would wait for. So
 * each attempt, the connecting included, has a thread of its own, which nobody waits for.
 */
#ifndef GATEWAY_DIAL_H
#define GATEWAY_DIAL_H

#include "shared/contract/redis_url.h"

enum {
	DIAL_ADDRESS_MS = 1500, /* for one address; then the next is tried */
	DIAL_ADDRESSES_MAX = 4, /* further ones are left out */
	DIALS_MAX = 16, /* that run at a time, those given up included */
	DIAL_WHY_SIZE = 128
};

/* A descriptor that can be read once there is an answer; closing it gives up. -1 with errno. The
 * URL is copied. */
int dial_start(const struct redis_url *url);

/* When there is: the descriptor is now that of the connected socket, not blocking, close-on-exec.
 * False: there is none, and `why` says why. */
bool dial_take(int dial, char why[DIAL_WHY_SIZE]);

#endif
