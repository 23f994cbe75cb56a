/*
 * One connection to Redis or Valkey, on a socket that is connected (dial.h): greeted, and then a
 * pipeline of commands and their answers, on the libuv loop of the cluster's thread, plain or by
 * TLS. The protocol is RESP2.
 *
 * It never waits and never reconnects: when anything is wrong or late it ends, says why, and a new
 * one is opened by whoever wants one. Redis is a stranger here: what it sends is bounded (the
 * constants below) and none of its bytes get into a `why`.
 *
 * No handler is ever called from within one of these functions. In a handler everything may be
 * called, redis_close too.
 */
#ifndef GATEWAY_REDIS_H
#define GATEWAY_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/cluster/replies.h"

struct redis;
struct redis_server;
struct uv_loop_s;

enum {
	REDIS_BYTES_PER_MS = 128, /* what a slow network must still manage */
	REDIS_UNSENT_MAX = 64 * 1024 * 1024, /* bytes that Redis does not take: the end */
	REDIS_COMMANDS_MAX = 64 * 1024, /* without an answer: likewise */
};

struct redis_options {
	struct redis_server *server; /* see wire.h; borrowed until redis_close */
	const char *client_name; /* for CLIENT LIST, without spaces; borrowed until on_ready */
	/* Of each command, and 1 ms more for each REDIS_BYTES_PER_MS of what is sent before it, of
	 * it and of its answer. */
	int64_t deadline_ms;
};

struct redis_handlers {
	/* It is logged in, and on its database. */
	void (*on_ready)(void *context);
	/* It ended: called once, after every unanswered command has got its NULL. All that is left
	 * to do is redis_close. `why` has no secret and no byte of Redis, and is gone when the
	 * handler returns. */
	void (*on_end)(void *context, const char *why);
	/* For a connection that subscribes: a message, its array as it came, which may hold
	 * anything behind the first element. NULL: it is an answer like any other. */
	void (*on_push)(void *context, const redisReply *message);
	void *context;
};

/* `loop` is borrowed until redis_close, the rest is copied; the socket is the connection's. */
struct redis *redis_open(struct uv_loop_s *loop, int socket, const struct redis_options *options,
			 const struct redis_handlers *handlers);

/* The answer to a command; it is Redis's, so its type is to be checked, and all that is in it.
 * NULL: the connection ended first, and whether Redis has done it nobody knows. */
typedef void redis_answer(void *context, const redisReply *reply);

/* Sends a command; all those of one turn of the loop go out together, in order. `lens` NULL: the
 * words are strings. Everything is copied. `answer` NULL: nobody asks, but an error is still an
 * answer. From on_ready to on_end; once the connection has ended, the answer is NULL, in the loop's
 * next turn. SUBSCRIBE is for one channel at a time, as each has an answer. */
void redis_command(struct redis *redis, redis_answer *answer, void *context, int argc,
		   const char *const *argv, const size_t *lens);

/* The same in one text whose words stand between spaces, and in them %s, %d, %u, %lld, and %b for
 * bytes and their size_t. */
void redis_ask(struct redis *redis, redis_answer *answer, void *context, const char *format, ...);

/* Stops reading, or goes on with it. Meanwhile neither answers nor on_push are called, and no
 * deadline passes. What has arrived waits here, the rest in the socket. */
void redis_pause(struct redis *redis, bool is_paused);

/* Closes it at once. No handler is called any more, nor any answer. The memory is freed after
 * the loop's next turn. NULL is allowed. */
void redis_close(struct redis *redis);

#endif
