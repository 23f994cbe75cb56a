/*
 * A connection to Redis, see redis.h. State: where it stands, and the commands that wait for their
 * answers. These come in the order of the commands, so the only deadline that is watched is that of
 * the first.
 *
 * What is to be done without delay, but not within the caller, is done by an idle handle in the
 * loop's next turn: sending what a turn's commands have written, saying that the connection has
 * ended, going on after a pause.
 */
#include "gateway/cluster/redis.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uv.h>

#include "gateway/cluster/replies.h"
#include "gateway/cluster/wire.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	READ_SIZE = 64 * 1024,
	/* When a deadline passes, what has come meanwhile is read first: this program itself may
	 * have been late. */
	GRACE_MS = 50,
};

struct command {
	STAILQ_ENTRY(command) entry;
	redis_answer *answer;
	void *context;
	char word[16]; /* its first, cut */
	int64_t deadline_ms, due_ms;
};

struct redis {
	struct redis_options options;
	struct redis_handlers handlers;
	enum { GREETING, READY, ENDED } state;
	char why[REDIS_WHY_SIZE]; /* it ENDED */
	bool is_closed; /* by redis_close: no handler may be called */
	bool is_late; /* the deadline has passed, see GRACE_MS */
	int64_t paused_ms; /* since when; 0: it is not */
	struct wire wire;
	uv_poll_t poll; /* while the wire is open */
	int events; /* that it polls for */
	uv_timer_t timer;
	uv_idle_t soon;
	int handles; /* not closed yet */

	struct replies *replies;
	STAILQ_HEAD(, command) commands;
	size_t command_count;
	char input[READ_SIZE];
};

static void on_soon(uv_idle_t *soon);

static void wake(struct redis *redis)
{
	uv_idle_start(&redis->soon, on_soon);
}

/* Whether anything is to be read. */
static bool is_listening(const struct redis *redis)
{
	return redis->wire.fd >= 0 && !redis->paused_ms;
}

/* The last one frees all. */
static void on_handle_closed(uv_handle_t *handle)
{
	struct redis *redis = handle->data;

	if (--redis->handles > 0 || !redis->is_closed)
		return;
	wire_free(&redis->wire);
	replies_free(redis->replies);
	free(redis);
}

static void close_wire(struct redis *redis)
{
	if (redis->wire.fd < 0)
		return;
	uv_poll_stop(&redis->poll);
	uv_close((uv_handle_t *)&redis->poll, on_handle_closed);
	wire_close(&redis->wire);
}

/* The connection is over. The handlers hear of it in the loop's next turn. */
__attribute__((format(printf, 2, 3))) static void end(struct redis *redis, const char *format, ...)
{
	va_list args;

	if (redis->state == ENDED || redis->is_closed)
		return;
	redis->state = ENDED;
	va_start(args, format);
	vsnprintf(redis->why, sizeof(redis->why), format, args);
	va_end(args);
	close_wire(redis);
	uv_timer_stop(&redis->timer);
	wake(redis);
}

static struct command *take_command(struct redis *redis)
{
	struct command *command = STAILQ_FIRST(&redis->commands);

	if (command) {
		STAILQ_REMOVE_HEAD(&redis->commands, entry);
		redis->command_count--;
	}
	return command;
}

static void answer(struct command *command, const redisReply *reply)
{
	if (command->answer)
		command->answer(command->context, reply);
	free(command);
}

static void on_due(uv_timer_t *timer);

static void watch_deadline(struct redis *redis)
{
	const struct command *first = STAILQ_FIRST(&redis->commands);
	int64_t left_ms = first ? first->due_ms - clock_monotonic_ms() : 0;

	redis->is_late = false;
	if (first && !redis->paused_ms)
		uv_timer_start(&redis->timer, on_due, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
	else
		uv_timer_stop(&redis->timer);
}

static void on_due(uv_timer_t *timer)
{
	struct redis *redis = timer->data;
	const struct command *first = STAILQ_FIRST(&redis->commands);

	if (first->due_ms > clock_monotonic_ms()) {
		watch_deadline(redis);
	} else if (!redis->is_late) {
		redis->is_late = true;
		uv_timer_start(timer, on_due, GRACE_MS, 0);
	} else if (!wire_is_secure(&redis->wire)) {
		end(redis, "TLS: no answer in time; is that a port for TLS?");
	} else {
		end(redis, "no answer to %s within %lld ms", first->word,
		    (long long)first->deadline_ms);
	}
}

/* `bytes` are freed; `len` below 0: there was no memory for them. */
static void send_command(struct redis *redis, redis_answer *on_answer, void *context,
			 const char *word, char *bytes, long long len)
{
	struct command *command = xcalloc(1, sizeof(*command));
	size_t unsent = redis->wire.unsent_len + (size_t)(len > 0 ? len : 0);

	command->answer = on_answer;
	command->context = context;
	command->deadline_ms = redis->options.deadline_ms + (int64_t)(unsent / REDIS_BYTES_PER_MS);
	command->due_ms = clock_monotonic_ms() + command->deadline_ms;
	snprintf(command->word, sizeof(command->word), "%.*s", (int)strcspn(word, " "), word);
	STAILQ_INSERT_TAIL(&redis->commands, command, entry);
	redis->command_count++;
	wake(redis);
	if (redis->state != ENDED && len < 0)
		end(redis, "there is no memory for a command");
	else if (redis->state != ENDED && unsent > REDIS_UNSENT_MAX)
		end(redis, "more is to be sent than Redis takes");
	else if (redis->state != ENDED && redis->command_count > REDIS_COMMANDS_MAX)
		end(redis, "too many commands have no answer yet");
	else if (redis->state != ENDED)
		wire_append(&redis->wire, bytes, (size_t)len);
	redisFreeCommand(bytes);
	if (redis->command_count == 1 && redis->state != ENDED)
		watch_deadline(redis);
}

void redis_command(struct redis *redis, redis_answer *on_answer, void *context, int argc,
		   const char *const *argv, const size_t *lens)
{
	char *bytes = NULL;
	long long len = redisFormatCommandArgv(&bytes, argc, (const char **)(uintptr_t)argv, lens);

	send_command(redis, on_answer, context, argv[0], bytes, len);
}

void redis_ask(struct redis *redis, redis_answer *on_answer, void *context, const char *format, ...)
{
	char *bytes = NULL;
	va_list values;

	va_start(values, format);
	int len = redisvFormatCommand(&bytes, format, values);
	va_end(values);
	send_command(redis, on_answer, context, format, bytes, len);
}

/* Of a command of the greeting. */
static void on_greeted(struct redis *redis, const char *word, const redisReply *reply)
{
	char code[REDIS_CODE_SIZE];

	if (reply->type == REDIS_REPLY_ERROR) {
		redis_error_code(reply, code);
		end(redis, "Redis refused %s: %s", word, code);
	} else if (STAILQ_EMPTY(&redis->commands)) {
		redis->state = READY;
		redis->handlers.on_ready(redis->handlers.context);
	}
}

static void on_reply(struct redis *redis, const redisReply *reply)
{
	struct command *first;

	if (redis->handlers.on_push && reply->elements > 0 &&
	    redis_is_text(reply->element[0], "message")) {
		redis->handlers.on_push(redis->handlers.context, reply);
		return;
	}
	first = take_command(redis);
	if (!first) {
		end(redis, "Redis sent an answer to no command");
		return;
	}
	watch_deadline(redis);
	if (redis->state == GREETING)
		on_greeted(redis, first->word, reply);
	answer(first, reply);
}

/* All that has come, as far as it is whole. A handler may end, pause or close the connection. */
static void take_replies(struct redis *redis)
{
	while (is_listening(redis)) {
		redisReply *reply = replies_next(redis->replies);

		if (!reply && replies_fault(redis->replies))
			end(redis, "%s", replies_fault(redis->replies));
		if (!reply)
			return;
		on_reply(redis, reply);
		freeReplyObject(reply);
	}
}

static void receive(struct redis *redis)
{
	struct command *first = STAILQ_FIRST(&redis->commands);
	size_t len = wire_receive(&redis->wire, redis->input, READ_SIZE);

	if (first) /* a long answer is not late while it comes */
		first->due_ms += (int64_t)len / REDIS_BYTES_PER_MS;
	replies_feed(redis->replies, redis->input, len);
	take_replies(redis);
	if (is_listening(redis) && len > 0 && wire_has_more(&redis->wire))
		wake(redis);
}

static void on_io(uv_poll_t *poll, int status, int events);

/* Sends what can be sent, and polls for what else is to be done. */
static void go_on(struct redis *redis)
{
	int events;

	if (redis->wire.fd < 0)
		return;
	wire_flush(&redis->wire);
	if (redis->wire.why[0]) {
		end(redis, "%s", redis->wire.why);
		return;
	}
	events = (redis->paused_ms ? 0 : UV_READABLE) |
		 (wire_wants_to_send(&redis->wire) ? UV_WRITABLE : 0);
	if (events && events != redis->events)
		uv_poll_start(&redis->poll, events, on_io);
	else if (!events)
		uv_poll_stop(&redis->poll);
	redis->events = events;
}

static void greet(struct redis *redis)
{
	const struct redis_url *url = &redis->options.server->url;

	redis->state = GREETING;
	if (url->user[0] && url->password[0])
		redis_ask(redis, NULL, NULL, "AUTH %s %s", url->user, url->password);
	else if (url->password[0])
		redis_ask(redis, NULL, NULL, "AUTH %s", url->password);
	if (url->database > 0)
		redis_ask(redis, NULL, NULL, "SELECT %u", url->database);
	redis_ask(redis, NULL, NULL, "CLIENT SETNAME %s", redis->options.client_name);
}

static void on_io(uv_poll_t *poll, int status, int events)
{
	struct redis *redis = poll->data;

	if (status < 0) /* libuv polls no more; what is the matter is still to be read */
		redis->events = 0;
	if (is_listening(redis) && (status < 0 || (events & UV_READABLE)))
		receive(redis);
	go_on(redis);
}

/* What could not be done within the caller. */
static void on_soon(uv_idle_t *soon)
{
	struct redis *redis = soon->data;
	struct command *command;

	uv_idle_stop(soon);
	take_replies(redis);
	if (is_listening(redis) && wire_has_more(&redis->wire))
		receive(redis);
	go_on(redis);
	while (redis->state == ENDED && !redis->is_closed && (command = take_command(redis)))
		answer(command, NULL);
	if (redis->state == ENDED && !redis->is_closed)
		redis->handlers.on_end(redis->handlers.context, redis->why);
}

struct redis *redis_open(struct uv_loop_s *loop, int socket, const struct redis_options *options,
			 const struct redis_handlers *handlers)
{
	struct redis *redis = xcalloc(1, sizeof(*redis));

	redis->options = *options;
	redis->handlers = *handlers;
	redis->replies = replies_new();
	redis->wire.fd = socket;
	STAILQ_INIT(&redis->commands);
	uv_timer_init(loop, &redis->timer);
	uv_idle_init(loop, &redis->soon);
	uv_poll_init(loop, &redis->poll, socket);
	redis->timer.data = redis->soon.data = redis->poll.data = redis;
	redis->handles = 3;
	wire_secure(&redis->wire, options->server);
	greet(redis);
	return redis;
}

void redis_pause(struct redis *redis, bool is_paused)
{
	int64_t now_ms = clock_monotonic_ms();
	struct command *command;

	if (is_paused == (redis->paused_ms > 0) || redis->state != READY)
		return;
	STAILQ_FOREACH(command, &redis->commands, entry)
	command->due_ms += is_paused ? 0 : now_ms - redis->paused_ms;
	redis->paused_ms = is_paused ? now_ms : 0;
	watch_deadline(redis);
	wake(redis);
}

void redis_close(struct redis *redis)
{
	struct command *command;

	if (!redis)
		return;
	redis->is_closed = true;
	while ((command = take_command(redis)))
		free(command);
	close_wire(redis);
	uv_close((uv_handle_t *)&redis->timer, on_handle_closed);
	uv_close((uv_handle_t *)&redis->soon, on_handle_closed);
}
