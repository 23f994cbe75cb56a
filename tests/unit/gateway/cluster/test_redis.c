// needs: gateway/cluster/redis.c gateway/cluster/replies.c
// needs: gateway/cluster/wire.c gateway/cluster/dial.c
// links: hiredis uv ssl
/*
 * One connection to Redis, against a server that says what a table tells it to, and against a real
 * one. What it must bear is in test_redis_limits.c.
 */
#include "tests/unit/gateway/cluster/redis_fixture.h"

#include <netdb.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/unix_socket.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PINGS "PING 1", "PING 2"
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
	{"redis://second.test:PORT", {OK, "+1\r\n"}, {"PING"}, "1", "ready 1 "},
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
	{URL, {"-NOAUTH a\r\n"}, {0}, NULL, "end: Redis refused CLIENT: NOAUTH"},
	{URL, {"-LOADING a\r\n"}, {0}, NULL, "end: Redis refused CLIENT: LOADING"},
	{URL, {"-\033[2Jp\r\n"}, {0}, NULL, "end: Redis refused CLIENT: error"},
	{URL, {"-\r\n"}, {0}, NULL, "end: Redis refused CLIENT: error"},
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
	{"redis://localhost:1", {0}, {0}, NULL, "end: cannot connect: connection refused"},
	{"redis://none.test",
	 {0},
	 {0},
	 NULL,
	 "end: cannot look up the host: Name or service not known"},
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
	 {OK, SUBSCRIBED("b") SUBSCRIBED("a") MESSAGE("$2\r\nhi\r\n") MESSAGE("*1\r\n$1\r\nk\r\n"),
	  MESSAGE("$-1\r\n") "*2\r\n$4\r\npong\r\n$0\r\n\r\n"},
	 {"SUBSCRIBE b", "SUBSCRIBE a", "PING"},
	 "pong",
	 "ready subscribe,b,? subscribe,a,? push:message,a,hi push:message,a,? push:message,a,? "
	 "pong, "},
	{URL, {OK, "-NOPERM a\r\n"}, {"SUBSCRIBE a"}, "NOPERM", "ready NOPERM a "},
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

/* The system's names would depend on the system. "second.test" is refused at its first address. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	static struct sockaddr_in addresses[2];
	static struct addrinfo found[2];

	(void)hints;
	if (strcmp(host, "none.test") == 0)
		return EAI_NONAME;
	for (size_t i = 0; i < 2; i++) {
		bool is_bad = i == 0 && strcmp(host, "second.test") == 0;

		uv_ip4_addr("127.0.0.1", is_bad ? 1 : (int)strtol(service, NULL, 10),
			    &addresses[i]);
		found[i] = (struct addrinfo){
			.ai_family = AF_INET,
			.ai_addr = (struct sockaddr *)&addresses[i],
			.ai_addrlen = sizeof(addresses[i]),
			.ai_next = i == 0 ? &found[1] : NULL,
		};
	}
	*out = found;
	return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
	(void)found;
}

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

static void to_one_that_takes_no_messages_they_are_answers(void **state)
{
	static const char *const answers[] = {OK, MESSAGE("$2\r\nhi\r\n") MESSAGE(":1\r\n"), NULL};
	static const char *const get[] = {"GET a", NULL};
	const struct redis_handlers handlers = {on_ready, on_end, NULL, NULL};

	(void)state;
	begin(answers);
	script = get;
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "ready message,a,hi end: Redis sent an answer to no command");
}

static void on_answer_ask(void *context, const redisReply *reply)
{
	(void)context;
	note_reply(reply);
	redis_command(redis, on_answer, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void on_ready_to_ask(void *context)
{
	(void)context;
	redis_command(redis, on_answer_ask, NULL, 1, (const char *[]){"PING"}, NULL);
}

static void a_command_after_the_end_is_answered_all_the_same(void **state)
{
	const struct redis_handlers handlers = {on_ready_to_ask, on_end, NULL, NULL};

	(void)state;
	begin((const char *const[]){OK, CLOSE, NULL});
	run(URL, LIMIT_MS, &handlers);
	assert_string_equal(trace, "(none) (none) end: Redis closed the connection");
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
	int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/redis.sock", dir);
	child = start_redis(dir);
	for (int i = 0; i < 1000 && fd < 0; i++) {
		fd = unix_connect(path, SOCK_STREAM);
		usleep(10000);
	}
	assert_true(fd >= 0);
	close(fd);
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
		cmocka_unit_test(to_one_that_takes_no_messages_they_are_answers),
		cmocka_unit_test(a_command_after_the_end_is_answered_all_the_same),
		cmocka_unit_test(a_url_that_is_none_and_certificates_that_are_missing_are_said),
		cmocka_unit_test(with_a_real_one_it_logs_in_and_works),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
