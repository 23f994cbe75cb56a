// needs: gateway/cluster/redis.c gateway/cluster/replies.c
// needs: gateway/cluster/tls.c gateway/cluster/lookup.c
// links: hiredis uv ssl
/*
 * One connection to Redis, against a server that says what a table tells it to, and against a real
 * one. What the connection's owner hears is written to a trace.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "gateway/cluster/redis.h"
#include "gateway/cluster/replies.h"
#include "shared/base/alloc.h"

enum { COMMANDS_MAX = 8, SHORT_MS = 100, LIMIT_MS = 10000 };

#define CLOSE "(close)"
#define OK "+OK\r\n"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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
static struct redis *redis;
static const char *const *script; /* what it sends, each a command of one or two words */
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
		char words[64];
		char *second;

		snprintf(words, sizeof(words), "%s", script[i]);
		second = strchr(words, ' ');
		if (second)
			*second++ = '\0';
		redis_command(redis, on_answer, NULL, second ? 2 : 1,
			      (const char *[]){words, second}, NULL);
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

/* `url`: PORT in it is the server's. Runs until the owner has closed, and checks that nothing is
 * left. */
static void run(const char *url, int64_t deadline_ms, const struct redis_handlers *handlers)
{
	const char *port = strstr(url, "PORT");
	char text[160], why[REDIS_WHY_SIZE] = "";
	struct redis_server *there;

	if (port)
		snprintf(text, sizeof(text), "%.*s%u%s", (int)(port - url), url, server.port,
			 port + strlen("PORT"));
	else
		snprintf(text, sizeof(text), "%s", url);
	there = redis_server_new(text, "", why);
	assert_string_equal(why, "");
	redis = redis_open(&loop, &(struct redis_options){there, "test", deadline_ms}, handlers);
	while (redis && uv_run(&loop, UV_RUN_ONCE) != 0)
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
#define PINGS "PING 1", "PING 2"
#define SUBSCRIBED(channel) "*3\r\n$9\r\nsubscribe\r\n$1\r\n" channel "\r\n:1\r\n"
#define MESSAGE(text) "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n" text
#define DEEP "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"

static const struct scene {
	const char *url;
	const char *says[COMMANDS_MAX]; /* the server, the greeting's answer first */
	const char *sends[COMMANDS_MAX];
	const char *closes_at;
	const char *trace;
} scenes[] = {
	{URL, {OK, "+1\r\n", "$2\r\nhi\r\n"}, {PINGS}, "hi", "ready 1 hi "},
	{URL, {OK "+1\r\n+2\r\n"}, {PINGS}, "2", "ready 1 2 "},
	{URL, {OK, "-MOVED 1 a:1\r\n", ":7\r\n"}, {PINGS}, "?", "ready MOVED 1 a:1 ? "},
	{"redis://u:p@127.0.0.1:PORT/3", {OK, OK, OK, "+1\r\n"}, {"PING"}, "1", "ready 1 "},
	{"redis://localhost:PORT", {OK, "+1\r\n"}, {"PING"}, "1", "ready 1 "},
	/* It is not taken as what one wants. */
	{"redis://u:p@127.0.0.1:PORT",
	 {"-WRONGPASS no\r\n"},
	 {0},
	 NULL,
	 "end: Redis refused AUTH: WRONGPASS"},
	{"redis://:p@127.0.0.1:PORT/2",
	 {OK, "-ERR DB index is out of range\r\n"},
	 {0},
	 NULL,
	 "end: Redis refused SELECT: ERR"},
	{URL, {"-NOAUTH a\r\n"}, {0}, NULL, "end: Redis refused CLIENT SETNAME: NOAUTH"},
	{URL, {"-LOADING a\r\n"}, {0}, NULL, "end: Redis refused CLIENT SETNAME: LOADING"},
	{URL, {"-\033[2Jp\r\n"}, {0}, NULL, "end: Redis refused CLIENT SETNAME: error"},
	{URL, {"-\r\n"}, {0}, NULL, "end: Redis refused CLIENT SETNAME: error"},
	/* It is silent, or closes. */
	{URL, {NULL}, {0}, NULL, "end: no answer to CLIENT within 100 ms"},
	{URL, {OK, "+1\r\n"}, {PINGS}, NULL, "ready 1 (none) end: no answer to PING within 100 ms"},
	{URL, {CLOSE}, {0}, NULL, "end: Redis closed the connection"},
	{URL, {OK, CLOSE}, {"PING"}, NULL, "ready (none) end: Redis closed the connection"},
	{URL,
	 {OK, "$10\r\nhalf", CLOSE},
	 {PINGS},
	 NULL,
	 "ready (none) (none) end: Redis closed the connection"},
	{"redis://127.0.0.1:1", {0}, {0}, NULL, "end: cannot connect: connection refused"},
	{"unix:/nonexistent/redis",
	 {0},
	 {0},
	 NULL,
	 "end: cannot connect: no such file or directory"},
	/* It is not Redis, or a hostile one. */
	{URL,
	 {"HTTP/1.1 400 Bad Request\r\n"},
	 {0},
	 NULL,
	 "end: what comes is not the protocol of Redis"},
	{URL, {":1x\r\n"}, {0}, NULL, "end: what comes is not the protocol of Redis"},
	{URL, {"*99999999999\r\n"}, {0}, NULL, "end: what comes is not the protocol of Redis"},
	{URL, {"*2147483647\r\n"}, {0}, NULL, "end: a reply has too many elements"},
	{URL,
	 {"*2\r\n*200000\r\n*0\r\n*-1\r\n"},
	 {0},
	 NULL,
	 "end: no answer to CLIENT within 100 ms"},
	{URL, {DEEP "*1\r\n"}, {0}, NULL, "end: a reply is nested too deeply"},
	{URL, {"$2147483647\r\nx"}, {0}, NULL, "end: no answer to CLIENT within 100 ms"},
	{URL,
	 {OK, "+1\r\n+2\r\n"},
	 {"PING"},
	 NULL,
	 "ready 1 end: Redis sent an answer to no command"},
	/* It is subscribed to. */
	{URL,
	 {OK, SUBSCRIBED("a") MESSAGE("$2\r\nhi\r\n") MESSAGE("*1\r\n$1\r\nk\r\n"),
	  MESSAGE("$-1\r\n") "*2\r\n$4\r\npong\r\n$0\r\n\r\n"},
	 {"SUBSCRIBE a", "PING"},
	 "pong",
	 "ready subscribe,a,? push:message,a,hi push:message,a,? push:message,a,? pong, "},
	{URL, {OK, "-NOPERM a\r\n"}, {"SUBSCRIBE a"}, "NOPERM", "ready NOPERM a "},
	{URL, {OK, MESSAGE("$2\r\nhi\r\n")}, {"GET a"}, "message", "ready message,a,hi "},
	/* The owner closes in whichever handler. */
	{URL, {OK}, {"PING"}, "ready", "ready "},
	{URL, {OK, "+1\r\n+2\r\n"}, {PINGS}, "1", "ready 1 "},
	{URL,
	 {OK, SUBSCRIBED("a") MESSAGE(":1\r\n") MESSAGE(":1\r\n")},
	 {"SUBSCRIBE a"},
	 "push",
	 "ready subscribe,a,? push:"},
	{URL, {OK, CLOSE}, {PINGS}, "(none)", "ready (none) "},
};

static void it_says_what_the_server_says_or_what_is_wrong_with_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * COUNT(scenes); i++) {
		const struct scene *scene = &scenes[i / 2];

		begin(scene->says);
		server.is_slow = i % 2 == 1;
		script = scene->sends;
		closes_at = scene->closes_at;
		run(scene->url, strstr(scene->trace, "100 ms") ? SHORT_MS : LIMIT_MS, &usual);
		if (strcmp(trace, scene->trace) != 0)
			fail_msg("scene %zu: \"%s\", not \"%s\"", i, trace, scene->trace);
	}
}

static uv_timer_t later;

static void on_later(uv_timer_t *timer)
{
	note("resume ");
	redis_resume(redis);
	uv_close((uv_handle_t *)timer, NULL);
}

static void on_first(void *context, const redisReply *reply)
{
	(void)context;
	note_reply(reply);
	note("pause ");
	redis_pause(redis);
	redis_pause(redis);
	uv_timer_init(&loop, &later);
	uv_timer_start(&later, on_later, 3 * (uint64_t)SHORT_MS, 0);
}

static void on_ready_to_pause(void *context)
{
	(void)context;
	redis_command(redis, on_first, NULL, 1, (const char *[]){"PING"}, NULL);
	redis_command(redis, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
	redis_command_for(redis, SHORT_MS, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void while_it_is_paused_nothing_is_said_and_nothing_is_late(void **state)
{
	static const char *const answers[] = {OK, "+1\r\n+2\r\n", NULL};
	const struct redis_handlers handlers = {on_ready_to_pause, on_end, NULL, NULL};

	(void)state;
	begin(answers);
	closes_at = "2";
	run(URL, SHORT_MS, &handlers);
	assert_string_equal(trace, "1 pause resume 2 ");

	/* The deadlines go on where they were. */
	begin((const char *const[]){OK, "+1\r\n", NULL});
	run(URL, SHORT_MS, &handlers);
	assert_string_equal(trace, "1 pause resume (none) (none) "
				   "end: no answer to PING within 100 ms");
}

static void a_message_that_nobody_takes_ends_it(void **state)
{
	static const char *const answers[] = {OK, SUBSCRIBED("a") MESSAGE(":1\r\n"), NULL};
	static const char *const subscribe[] = {"SUBSCRIBE a", NULL};
	const struct redis_handlers handlers = {on_ready, on_end, NULL, NULL};

	(void)state;
	begin(answers);
	script = subscribe;
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "ready subscribe,a,? "
				   "end: Redis sent a message that nobody expects");
}

/* A text of so many bytes, to be freed. */
static char *filled(const char *start, size_t len, const char *end)
{
	char *text = xcalloc(strlen(start) + len + strlen(end) + 1, 1);

	memcpy(text, start, strlen(start));
	memset(text + strlen(start), 'x', len);
	memcpy(text + strlen(start) + len, end, strlen(end));
	return text;
}

static void large_replies_come_whole_and_endless_lines_end_it(void **state)
{
	static const char *const ping[] = {"PING", NULL};
	char *large = filled("$3000000\r\n", 3000000, "\r\n");
	char *line = filled("+", 2 * REPLY_MAX_LINE, "");

	(void)state;
	begin((const char *const[]){OK, large, NULL});
	script = ping;
	closes_at = "3000000";
	run(URL, LIMIT_MS, &usual);
	assert_string_equal(trace, "ready 3000000-bytes ");
	begin((const char *const[]){OK, line, NULL});
	script = ping;
	run(URL, LIMIT_MS, &usual);
	assert_string_equal(trace, "ready (none) end: a line of a reply is too long");
	free(large);
	free(line);
}

/* Says 100,000 bytes every 60 ms, so often. */
static struct {
	uv_timer_t timer;
	const char *text;
	int times;
} piecemeal;

static void on_piece(uv_timer_t *timer)
{
	uv_buf_t piece = uv_buf_init((char *)(uintptr_t)piecemeal.text, 100000);

	if (!redis || piecemeal.times-- == 0) {
		uv_close((uv_handle_t *)timer, NULL);
		return;
	}
	uv_write(xcalloc(1, sizeof(uv_write_t)), (uv_stream_t *)&server.peer, &piece, 1,
		 on_written);
	piecemeal.text += 100000;
}

static void on_ready_to_wait(void *context)
{
	on_ready(context);
	uv_timer_init(&loop, &piecemeal.timer);
	uv_timer_start(&piecemeal.timer, on_piece, 60, 60);
}

static void a_long_answer_is_not_late_while_it_comes(void **state)
{
	static const char *const ping[] = {"PING", NULL};
	const struct redis_handlers handlers = {on_ready_to_wait, on_end, NULL, NULL};
	char *large = filled("$499989\r\n", 499989, "\r\n");

	(void)state;
	for (int times = 1; times <= 5; times += 4) {
		begin((const char *const[]){OK, NULL});
		script = ping;
		closes_at = "499989";
		piecemeal.text = large;
		piecemeal.times = times;
		run(URL, SHORT_MS, &handlers);
		assert_string_equal(trace, times == 5 ? "ready 499989-bytes "
						      : "ready (none) end: no answer to PING "
							"within 100 ms");
	}
	free(large);
}

/* As much as Redis does not take. */
static void on_ready_to_flood(void *context)
{
	char *payload = filled("", 1024 * 1024, "");
	size_t most = 0;

	(void)context;
	for (int i = 0; i < 100; i++) {
		redis_command(redis, NULL, NULL, 2, (const char *[]){"ECHO", payload}, NULL);
		most = redis_unsent(redis) > most ? redis_unsent(redis) : most;
	}
	assert_in_range(most, REDIS_UNSENT_MAX / 2, REDIS_UNSENT_MAX);
	free(payload);
}

static void on_ready_to_ask_without_end(void *context)
{
	(void)context;
	for (int i = 0; i < 70000; i++)
		redis_command(redis, NULL, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void what_redis_does_not_take_is_bounded(void **state)
{
	struct redis_handlers handlers = {on_ready_to_flood, on_end, NULL, NULL};

	(void)state;
	begin((const char *const[]){OK, NULL});
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "end: more is to be sent than Redis takes");
	handlers.on_ready = on_ready_to_ask_without_end;
	begin((const char *const[]){OK, NULL});
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "end: too many commands have no answer yet");
}

static void on_end_ask(void *context, const char *why)
{
	(void)context;
	(void)why;
	note("end ");
	redis_command(redis, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
	redis_command(redis, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void a_command_after_the_end_is_answered_all_the_same(void **state)
{
	const struct redis_handlers handlers = {on_ready, on_end_ask, NULL, NULL};

	(void)state;
	begin((const char *const[]){CLOSE, NULL});
	closes_at = "(none)";
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "end (none) ");
}

static void a_url_that_is_none_and_certificates_that_are_missing_are_said(void **state)
{
	char why[REDIS_WHY_SIZE];

	(void)state;
	assert_null(redis_server_new("redis://", "", why));
	assert_string_equal(why, "redis_url: there is no host, or it is longer than 255 bytes");
	assert_null(redis_server_new("rediss://h", "/nonexistent", why));
	assert_string_equal(why, "redis_ca: cannot read it: No such file or directory");
	assert_null(redis_server_new("rediss://h", "/dev/null", why));
	assert_memory_equal(why, "redis_ca: it holds no certificate in PEM", 40);
	redis_server_free(NULL);
	redis_close(NULL);
}

/* A real one. */

static pid_t start_redis(const char *dir)
{
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "redis.sock",
		       "--dir", dir, "--save", "", "--requirepass", "pass/word", "--loglevel",
		       "warning", "--logfile", "/dev/null", NULL);
		_exit(127);
	}
	return child;
}

static void with_a_real_one_it_logs_in_and_works(void **state)
{
	static const char *const commands[] = {"PING",	      "DBSIZE", "GET key",
					       "SUBSCRIBE a", "PING",	NULL};
	char dir[] = "/tmp/test-redis-XXXXXX", url[96], path[64];
	pid_t child;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/redis.sock", dir);
	child = start_redis(dir);
	for (int i = 0; i < 500 && access(path, R_OK) != 0; i++)
		usleep(10000);
	assert_int_equal(access(path, R_OK), 0);
	begin(NULL);
	script = commands;
	closes_at = "pong";
	snprintf(url, sizeof(url), "unix://:pass%%2fword@%s?db=3", path);
	run(url, LIMIT_MS, &usual);
	assert_string_equal(trace, "ready PONG ? ? subscribe,a,? pong, ");
	begin(NULL);
	snprintf(url, sizeof(url), "unix://:wrong@%s?db=3", path);
	run(url, LIMIT_MS, &usual);
	assert_string_equal(trace, "end: Redis refused AUTH: WRONGPASS");
	begin(NULL);
	snprintf(url, sizeof(url), "unix://:pass%%2fword@%s?db=16", path);
	run(url, LIMIT_MS, &usual);
	assert_string_equal(trace, "end: Redis refused SELECT: ERR");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_what_the_server_says_or_what_is_wrong_with_it),
		cmocka_unit_test(while_it_is_paused_nothing_is_said_and_nothing_is_late),
		cmocka_unit_test(a_message_that_nobody_takes_ends_it),
		cmocka_unit_test(large_replies_come_whole_and_endless_lines_end_it),
		cmocka_unit_test(a_long_answer_is_not_late_while_it_comes),
		cmocka_unit_test(what_redis_does_not_take_is_bounded),
		cmocka_unit_test(a_command_after_the_end_is_answered_all_the_same),
		cmocka_unit_test(a_url_that_is_none_and_certificates_that_are_missing_are_said),
		cmocka_unit_test(with_a_real_one_it_logs_in_and_works),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
