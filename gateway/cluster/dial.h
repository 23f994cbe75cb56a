/*
 * Sockets that are connected to Redis. Looking up the name of its host blocks, and cannot be given
 * up once it has begun, not with libuv either, whose threads a process that ends would wait for. So
 * each attempt, the connecting included, has a thread of its own, which nobody waits for. What a
 * look-up brings after its attempt was given up serves the next ones.
 */
#ifndef GATEWAY_DIAL_H
#define GATEWAY_DIAL_H

#include <stddef.h>

#include "shared/contract/redis_url.h"

enum {
	DIAL_MS = 2500, /* for the name and all its addresses; then the attempt is given up */
	DIAL_ADDRESSES_MAX = 4, /* further ones are left out */
	DIAL_SOCKETS_MAX = 3,
	DIAL_LATE_MS = 5000, /* so old may be what a look-up has brought too late */
	DIALS_MAX = 16, /* that run at a time, those given up included */
	DIAL_WHY_SIZE = 128
};

struct dial;
struct uv_loop_s;

/* `sockets`: as many as were wanted, to one and the same address, not blocking, close-on-exec, and
 * the callee's from now on; close(2) resets them and forgets what is unsent. NULL: there are none,
 * and `why`, for people, says why; it is "" else.
 */
typedef void dial_done(void *context, const int *sockets, const char *why);

/* `count`: from 1 to DIAL_SOCKETS_MAX. `done` is called once, by the loop, which is borrowed until
 * dial_close; that is all that is left to do then. The URL is copied. */
struct dial *dial_start(struct uv_loop_s *loop, const struct redis_url *url, size_t count,
			dial_done *done, void *context);

/* Gives it up, or forgets what is done; in `done`, too. NULL is allowed. */
void dial_close(struct dial *dial);

#endif
