/*
 * For tests of a connection to Redis: a server on the same loop that says what it is told to, and
 * an owner of the connection that writes what it hears to a trace. Include it once, in the test
 * program.
 */
#ifndef TESTS_UNIT_REDIS_FIXTURE_H
#define TESTS_UNIT_REDIS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include <cmocka.h>

#include "gateway/cluster/dial.h"
#include "gateway/cluster/redis.h"
#include "gateway/cluster/replies.h"
#include "gateway/cluster/wire.h"
#include "shared/base/alloc.h"

enum { COMMANDS_MAX = 8, SHORT_MS = 100, LIMIT_MS = 10000 };

#define CLOSE "(close)"
#define OK "+OK\r\n"

static uv_loop_t loop;
static uv_timer_t limit;
static char trace[4096];

/* The server: for each command that it gets, the next text. */
static struct {
	uv_tcp_t listener, peer;
	bool has_peer;
	const char *const *answers; /* NULL behind the last */
	bool is_slow; /* byte by byte */
	bool closes; /* when all has been said */
	char slowly[1024]; /* what is still to be said then */
	size_t said;
	struct replies *commands; /* which have the form of replies */
	char input[65536];
	uv_idle_t sending;
	unsigned port;
} server;

/* The owner. */
static struct dial *dial;
static struct redis *redis;
static const char *const *script; /* what it sends, each a command */
static const char *closes_at; /* the word of the trace at which it closes; NULL: at the end */

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	size_t used = strlen(trace);
	const char *word = trace + used;
	va_list args;

	va_start(args, format);
	vsnprintf(trace + used, sizeof(trace) - used, format, args);
	va_end(args);
	if (closes_at && strncmp(word, closes_at, strlen(closes_at)) == 0) {
		redis_close(redis);
		redis = NULL;
	}
}

static void note_reply(const redisReply *reply)
{
	char text[256] = "(none) ";
	size_t used = 0;

	if (reply && reply->type == REDIS_REPLY_ARRAY) {
		for (size_t i = 0; i < reply->elements; i++) {
			const redisReply *element = reply->element[i];

			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 i ? "," : "", element->str ? element->str : "?");
		}
		snprintf(text + used, sizeof(text) - used, " ");
	} else if (reply && reply->len > 100) {
		snprintf(text, sizeof(text), "%zu-bytes ", reply->len);
	} else if (reply) {
		snprintf(text, sizeof(text), "%s ", reply->str ? reply->str : "?");
	}
	note("%s", text);
}

static void on_answer(void *context, const redisReply *reply)
{
	(void)context;
	note_reply(reply);
}

static void on_push(void *context, const redisReply *message)
{
	(void)context;
	note("push:");
	if (redis)
		note_reply(message);
}

static void on_ready(void *context)
{
	(void)context;
	note("ready ");
	for (size_t i = 0; redis && script && script[i]; i++) {
		char words[64], *word, *state = NULL;
		const char *argv[4];
		int argc = 0;

		snprintf(words, sizeof(words), "%s", script[i]);
		while (argc < 4 && (word = strtok_r(argc ? NULL : words, " ", &state)))
			argv[argc++] = word;
		redis_command(redis, on_answer, NULL, argc, argv, NULL);
	}
}

static void on_end(void *context, const char *why)
{
	(void)context;
	note("end: %s", why);
	redis_close(redis);
	redis = NULL;
}

static const struct redis_handlers usual = {on_ready, on_end, on_push, NULL};

static void on_limit(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("the loop goes on: %s", trace);
}

static void on_byte(uv_idle_t *idle)
{
	uv_buf_t byte = uv_buf_init(server.slowly + server.said, 1);

	if (uv_is_closing((uv_handle_t *)&server.peer)) {
		uv_idle_stop(idle);
	} else if (*byte.base != '\0') {
		server.said += uv_try_write((uv_stream_t *)&server.peer, &byte, 1) == 1;
	} else {
		uv_idle_stop(idle);
		if (server.closes)
			uv_close((uv_handle_t *)&server.peer, NULL);
	}
}

static void on_written(uv_write_t *writing, int status)
{
	(void)status;
	free(writing);
}

static void say(const char *text)
{
	uv_buf_t bytes = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

	if (strcmp(text, CLOSE) == 0) {
		server.closes = true;
		uv_idle_start(&server.sending, on_byte);
	} else if (server.is_slow) {
		size_t len = strlen(server.slowly);

		snprintf(server.slowly + len, sizeof(server.slowly) - len, "%s", text);
		uv_idle_start(&server.sending, on_byte);
	} else {
		uv_write(xcalloc(1, sizeof(uv_write_t)), (uv_stream_t *)&server.peer, &bytes, 1,
			 on_written);
	}
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	(void)handle;
	(void)size;
	*buffer = uv_buf_init(server.input, sizeof(server.input));
}

static void on_command(uv_stream_t *peer, ssize_t count, const uv_buf_t *buffer)
{
	redisReply *command;

	if (count < 0) {
		if (!uv_is_closing((uv_handle_t *)peer))
			uv_close((uv_handle_t *)peer, NULL);
		return;
	}
	assert_true(replies_feed(server.commands, buffer->base, (size_t)count));
	while ((command = replies_next(server.commands))) {
		freeReplyObject(command);
		if (*server.answers && !uv_is_closing((uv_handle_t *)peer))
			say(*server.answers++);
	}
	assert_null(replies_fault(server.commands));
}

static void on_connection(uv_stream_t *listener, int status)
{
	assert_int_equal(status, 0);
	assert_false(server.has_peer);
	uv_tcp_init(&loop, &server.peer);
	assert_int_equal(uv_accept(listener, (uv_stream_t *)&server.peer), 0);
	server.has_peer = true;
	uv_read_start((uv_stream_t *)&server.peer, on_alloc, on_command);
}

static void begin(const char *const *answers)
{
	struct sockaddr_in address;
	int len = sizeof(address);

	memset(&server, 0, sizeof(server));
	*trace = '\0';
	script = NULL;
	closes_at = NULL;
	server.answers = answers;
	server.commands = replies_new();
	uv_loop_init(&loop);
	uv_timer_init(&loop, &limit);
	uv_timer_start(&limit, on_limit, LIMIT_MS, 0);
	uv_unref((uv_handle_t *)&limit);
	uv_idle_init(&loop, &server.sending);
	uv_tcp_init(&loop, &server.listener);
	uv_unref((uv_handle_t *)&server.listener);
	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_bind(&server.listener, (struct sockaddr *)&address, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&server.listener, 8, on_connection), 0);
	uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &len);
	server.port = ntohs(address.sin_port);
}

struct opening {
	struct redis_options options;
	const struct redis_handlers *handlers;
};

static void on_dialed(void *context, const int *sockets, const char *why)
{
	const struct opening *opening = context;

	if (sockets)
		redis = redis_open(&loop, *sockets, &opening->options, opening->handlers);
	else
		note("end: %s", why);
	dial_close(dial);
	dial = NULL;
}

/* `url`: PORT in it is the server's. Runs until the owner has closed, and checks that nothing is
 * left. */
static void run(const char *url, int64_t deadline_ms, const struct redis_handlers *handlers)
{
	const char *port = strstr(url, "PORT");
	char text[160], why[REDIS_WHY_SIZE] = "";
	struct opening opening = {{NULL, "test", deadline_ms}, handlers};
	struct redis_server *there;

	if (port)
		snprintf(text, sizeof(text), "%.*s%u%s", (int)(port - url), url, server.port,
			 port + strlen("PORT"));
	else
		snprintf(text, sizeof(text), "%s", url);
	there = redis_server_new(text, "", why);
	assert_string_equal(why, "");
	opening.options.server = there;
	dial = dial_start(&loop, &there->url, 1, on_dialed, &opening);
	while ((dial || redis) && uv_run(&loop, UV_RUN_ONCE) != 0)
		;
	assert_null(redis);
	if (server.has_peer && !uv_is_closing((uv_handle_t *)&server.peer))
		uv_close((uv_handle_t *)&server.peer, NULL);
	uv_close((uv_handle_t *)&server.listener, NULL);
	uv_close((uv_handle_t *)&server.sending, NULL);
	uv_close((uv_handle_t *)&limit, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	redis_server_free(there);
	replies_free(server.commands);
}

#define URL "redis://127.0.0.1:PORT"
#define SUBSCRIBED(channel) "*3\r\n$9\r\nsubscribe\r\n$1\r\n" channel "\r\n:1\r\n"
#define MESSAGE(text) "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n" text

#endif
