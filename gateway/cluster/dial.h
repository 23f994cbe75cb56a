/*
 * A socket that is connected to Redis. Looking up the name of its host blocks, and cannot be given
 * up once it has begun, not with libuv either, whose threads a process that ends would wait for. So
 * each attempt, the connecting included, has a thread of its own, which nobody waits for.
 */
#ifndef GATEWAY_DIAL_H
#define GATEWAY_DIAL_H

#include "shared/contract/redis_url.h"

struct dial;
struct uv_loop_s;

enum {
	DIAL_ADDRESS_MS = 1500, /* for one address; then the next is tried */
	DIAL_ADDRESSES_MAX = 4, /* further ones are left out */
	DIALS_MAX = 16, /* that run at a time, those given up included */
	DIAL_WHY_SIZE = 128
};

/* `fd` is the callee's from now on: not blocking, close-on-exec. -1: there is none, and `why` says
 * why until dial_end. */
typedef void dial_answer(void *context, int fd, const char *why);

/* Answers on the loop, once, and in a later turn of it. The URL is copied. */
struct dial *dial_start(struct uv_loop_s *loop, const struct redis_url *url, dial_answer *answer,
			void *context);

/* After its answer, or to give it up: it will not answer. NULL is allowed. */
void dial_end(struct dial *dial);

#endif
