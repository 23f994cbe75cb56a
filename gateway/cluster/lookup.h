/*
 * Looking up the name of a host without waiting for it. Not by libuv: its look-ups cannot be given
 * up once they have begun, and a process that ends would wait for one. Here each has a thread of
 * its own, which nobody waits for.
 */
#ifndef GATEWAY_LOOKUP_H
#define GATEWAY_LOOKUP_H

#include <stddef.h>
#include <sys/socket.h>

struct lookup;
struct uv_loop_s;

enum {
	LOOKUP_ADDRESSES_MAX = 4, /* further ones are left out */
	LOOKUPS_MAX = 8 /* that run at a time, those given up included */
};

/* The addresses, in the order in which they are to be tried; none with `why`, a constant. */
typedef void lookup_answer(void *context, const struct sockaddr_storage *addresses, size_t count,
			   const char *why);

/* Answers on the loop, once, and in a later turn of it. */
struct lookup *lookup_start(struct uv_loop_s *loop, const char *host, unsigned port,
			    lookup_answer *answer, void *context);

/* After its answer, or to give it up: it will not answer. NULL is allowed. */
void lookup_end(struct lookup *lookup);

#endif
