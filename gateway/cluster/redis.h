/*
 * One connection to Redis or Valkey: made, greeted, and then a pipeline of commands and their
 * answers, on the libuv loop of the cluster's thread. TCP, a UNIX socket, or TLS. The protocol is
 * RESP2.
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

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis;
struct redis_server;
struct uv_loop_s;

enum {
	REDIS_WHY_SIZE = 160,
	REDIS_CODE_SIZE = 24, /* of an error: "WRONGPASS" */
	REDIS_CONNECT_MS = 1500, /* to one address; then the next is tried */
	REDIS_BYTES_PER_MS = 128, /* an answer that comes more slowly is late */
	REDIS_UNSENT_MAX = 64 * 1024 * 1024, /* bytes that Redis does not take: the end */
	REDIS_COMMANDS_MAX = 64 * 1024, /* without an answer: likewise */
};

/* Where Redis is, and how it proves who it is: made once, for all connections, from the values of
 * `redis_url` and `redis_ca` ("": the system's certificates). NULL with `why` when the URL is none,
 * or the file cannot be read or holds no certificate. May block on the disk. */
struct redis_server *redis_server_new(const char *url, const char *ca_file,
				      char why[REDIS_WHY_SIZE]);

/* After the last of its connections. NULL is allowed. */
void redis_server_free(struct redis_server *server);

struct redis_options {
	struct redis_server *server;
	const char *client_name; /* for CLIENT LIST; printable, without spaces; copied */
	/* Of each command, and 1 ms more for each REDIS_BYTES_PER_MS of its answer; also of the
	 * name's look-up, and of TLS. */
	int64_t deadline_ms;
};

struct redis_handlers {
	/* It is connected, logged in, and on its database. */
	void (*on_ready)(void *context);
	/* It could not be connected, or ended: called once, after every unanswered command has got
	 * its NULL. All that is left to do is redis_close. `why` has no secret and no byte of
	 * Redis, and is gone when the handler returns. */
	void (*on_end)(void *context, const char *why);
	/* A message or pmessage of a connection that has subscribed: its array as it came, which
	 * may hold anything behind the first element. NULL: such a message is a fault. */
	void (*on_push)(void *context, const redisReply *message);
	void *context;
};

/* `loop` and `options->server` are borrowed until redis_close, the rest is copied. */
struct redis *redis_open(struct uv_loop_s *loop, const struct redis_options *options,
			 const struct redis_handlers *handlers);

/* The answer to a command; it is Redis's, so its type is to be checked, and all that is in it.
 * NULL: the connection ended first, and whether Redis has done it nobody knows. */
typedef void redis_answer(void *context, const redisReply *reply);

/* Sends a command; all those of one turn of the loop go out together, in order. `lens` NULL: the
 * words are strings. Everything is copied. `answer` NULL: nobody asks, but an error is still an
 * answer. From on_ready on; when the connection has ended, the answer is NULL, in the loop's next
 * turn.
 * SUBSCRIBE has one answer, the confirmation of its last channel. */
void redis_command(struct redis *redis, redis_answer *answer, void *context, int argc,
		   const char *const *argv, const size_t *lens);

/* The same with a deadline of its own: for what blocks. */
void redis_command_for(struct redis *redis, int64_t deadline_ms, redis_answer *answer,
		       void *context, int argc, const char *const *argv, const size_t *lens);

/* Bytes that Redis has not taken yet. Whoever sends much waits while there are many: at
 * REDIS_UNSENT_MAX the connection ends. */
size_t redis_unsent(const struct redis *redis);

/* When bytes of it came last, monotonic; 0: none have. */
int64_t redis_heard_ms(const struct redis *redis);

/* Stops reading, and calls neither answers nor on_push; no deadline passes meanwhile. What has
 * arrived waits here, the rest in the socket. */
void redis_pause(struct redis *redis);
void redis_resume(struct redis *redis);

/* Closes it at once. No handler is called any more, nor any answer. The memory is freed after
 * the loop's next turn. NULL is allowed. */
void redis_close(struct redis *redis);

/* The code that an error begins with ("WRONGPASS", "LOADING"), fit to be logged; "error" when there
 * is none. */
void redis_error_code(const redisReply *error, char code[REDIS_CODE_SIZE]);

/* Whether it is what one expects: a status or string of just these bytes. */
bool redis_is_text(const redisReply *reply, const char *text);

#endif
