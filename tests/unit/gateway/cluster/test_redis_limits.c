// needs: gateway/cluster/redis.c gateway/cluster/replies.c
// needs: gateway/cluster/wire.c gateway/cluster/dial.c
// links: hiredis uv ssl
/*
 * What a connection to Redis must bear: a pause, long answers, and a Redis that takes nothing.
 */
#include "tests/unit/gateway/cluster/redis_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

/* A text of so many bytes, to be freed. */
static char *filled(const char *start, size_t len, const char *end)
{
	char *text = xcalloc(strlen(start) + len + strlen(end) + 1, 1);

	memcpy(text, start, strlen(start));
	memset(text + strlen(start), 'x', len);
	memcpy(text + strlen(start) + len, end, strlen(end));
	return text;
}

static uv_timer_t later;
static const char *last_word;

static void on_last(uv_timer_t *timer)
{
	say(last_word);
	uv_close((uv_handle_t *)timer, NULL);
}

static void on_later(uv_timer_t *timer)
{
	note("%sresume ", server.peer.write_queue_size > 0 ? "held " : "");
	redis_pause(redis, false);
	if (*last_word)
		uv_timer_start(timer, on_last, SHORT_MS, 0);
	else
		uv_close((uv_handle_t *)timer, NULL);
}

static void on_first(void *context, const redisReply *reply)
{
	(void)context;
	note_reply(reply);
	note("pause ");
	redis_pause(redis, true);
	redis_pause(redis, true);
	uv_timer_init(&loop, &later);
	uv_timer_start(&later, on_later, 5 * (uint64_t)SHORT_MS, 0);
}

static void on_ready_to_pause(void *context)
{
	(void)context;
	redis_command(redis, on_first, NULL, 1, (const char *[]){"PING"}, NULL);
	redis_command(redis, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void while_it_is_paused_nothing_is_said_and_nothing_is_late(void **state)
{
	const struct redis_handlers handlers = {on_ready_to_pause, on_end, NULL, NULL};
	char *large = filled("+1\r\n$40000000\r\n", 40000000, "\r\n");

	(void)state;
	begin((const char *const[]){OK, "+1\r\n+2\r\n", NULL});
	closes_at = "2";
	last_word = "";
	run(URL, SHORT_MS, &handlers);
	assert_string_equal(trace, "1 pause resume 2 ");

	/* What has not been read is held up at Redis. */
	begin((const char *const[]){OK, large, NULL});
	closes_at = "40000000";
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "1 pause held resume 40000000-bytes ");
	free(large);

	/* The deadlines go on where they were. */
	begin((const char *const[]){OK, "+1\r\n", NULL});
	closes_at = "late";
	last_word = "+late\r\n";
	run(URL, 2 * SHORT_MS, &handlers);
	assert_string_equal(trace, "1 pause resume late ");
	begin((const char *const[]){OK, "+1\r\n", NULL});
	last_word = "";
	run(URL, SHORT_MS, &handlers);
	assert_string_equal(trace, "1 pause resume (none) end: no answer to PING within 100 ms");
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

	(void)context;
	for (int i = 0; i < 100; i++)
		redis_command(redis, NULL, NULL, 2, (const char *[]){"ECHO", payload}, NULL);
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

/* The system may run out of memory for a moment, with half a command sent. */
static bool has_no_memory;

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	if (!has_no_memory)
		return sendto(fd, bytes, len, flags, NULL, 0);
	has_no_memory = false;
	errno = ENOBUFS;
	return -1;
}

static void on_ready_to_fail(void *context)
{
	on_ready(context);
	has_no_memory = true;
}

static void what_cannot_be_sent_ends_it(void **state)
{
	static const char *const ping[] = {"PING", NULL};
	const struct redis_handlers handlers = {on_ready_to_fail, on_end, NULL, NULL};

	(void)state;
	begin((const char *const[]){OK, NULL});
	script = ping;
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "ready (none) end: cannot send: no buffer space available");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_it_is_paused_nothing_is_said_and_nothing_is_late),
		cmocka_unit_test(large_replies_come_whole_and_endless_lines_end_it),
		cmocka_unit_test(a_long_answer_is_not_late_while_it_comes),
		cmocka_unit_test(what_redis_does_not_take_is_bounded),
		cmocka_unit_test(what_cannot_be_sent_ends_it),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
