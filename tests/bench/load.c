/*
 * The load generator: subscribers by the ten thousand and publishers, in one process and one
 * thread. It reads commands from stdin, a JSON object a line, and answers each with another on
 * stdout; the driver sends them. Between commands it answers the servers' pings. A connection that
 * is refused, or a command that is wrong, ends it with a message. "do" is one of
 *
 * connect  group, port, target (/ws?topic=), topic, count; topics (1), first (0), underway (256),
 *          auth (1; 0: the handshake is all), secret (of the tokens)
 * publish  port, path, count; bytes and before, after (what stands around the payload; no bytes: a
 *          GET), secret, rate (0: as fast as it is answered), groups (names, with commas; # in
 *          `before` is the name of one), publishers (1; of each group, or who publish to nobody
 * here; 0: another load generator publishes what the groups get), until_delivered (0), awake (0):
 *          1 for never to sleep meanwhile; each (0): 1 for the time of each answer as well
 * drop     group
 */
#include <cjson/cJSON.h>
#include <err.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/publisher.h"

enum { UNDERWAY = 256, NAMES_MAX = 4096 };

/* "" when there is none. */
static const char *text(const cJSON *command, const char *key)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(command, key));

	return value ? value : "";
}

static int64_t number(const cJSON *command, const char *key, int64_t otherwise)
{
	const cJSON *value = cJSON_GetObjectItem(command, key);

	if (value && (!cJSON_IsNumber(value) || value->valuedouble < 0))
		errx(EXIT_FAILURE, "\"%s\" is no number", key);
	return value ? (int64_t)value->valuedouble : otherwise;
}

static struct sockaddr_in server_of(const cJSON *command)
{
	struct sockaddr_in server = {.sin_family = AF_INET};

	server.sin_port = htons((uint16_t)number(command, "port", 0));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return server;
}

static void connect_group(const cJSON *command)
{
	const struct group_options options = {
		.name = text(command, "group"),
		.server = server_of(command),
		.target = text(command, "target"),
		.topic = text(command, "topic"),
		.topics = number(command, "topics", 1),
		.first = number(command, "first", 0),
		.count = number(command, "count", 1),
		.underway = number(command, "underway", UNDERWAY),
		.sends_auth = number(command, "auth", 1) != 0,
		.secret = text(command, "secret"),
	};
	int64_t start_ns = loop_now_ns();

	group_connect(&options);
	printf("{\"seconds\":%.6f}\n", (double)(loop_now_ns() - start_ns) / 1e9);
}

static void publish(const cJSON *command)
{
	char names[NAMES_MAX], *rest = NULL;
	struct run_options options = {
		.server = server_of(command),
		.path = text(command, "path"),
		.secret = text(command, "secret"),
		.before = text(command, "before"),
		.after = text(command, "after"),
		.payload_len = (size_t)number(command, "bytes", 0),
		.count = number(command, "count", 1),
		.rate = number(command, "rate", 0),
		.until_delivered = number(command, "until_delivered", 0) != 0,
		.is_awake = number(command, "awake", 0) != 0,
		.tells_each = number(command, "each", 0) != 0,
		.publishers = (size_t)number(command, "publishers", 1),
	};

	snprintf(names, sizeof(names), "%s", text(command, "groups"));
	for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (options.group_count == MOST_PUBLISHERS || options.publishers > LANES)
			errx(EXIT_FAILURE, "too many groups, or publishers of one");
		options.groups[options.group_count++] = group_find(name);
	}
	if (options.group_count > 0)
		options.publishers *= options.group_count;
	if (options.publishers > MOST_PUBLISHERS)
		errx(EXIT_FAILURE, "too many publishers");
	publishers_run(&options);
}

static void drop(const cJSON *command)
{
	struct group *group = group_find(text(command, "group"));

	printf("{\"corrupt\":%lld,\"closed\":%lld}\n", (long long)group->corrupt,
	       (long long)group->closed);
	group_drop(group);
}

static void execute(const char *line)
{
	cJSON *command = cJSON_Parse(line);
	const char *verb = text(command, "do");

	if (strcmp(verb, "connect") == 0)
		connect_group(command);
	else if (strcmp(verb, "publish") == 0)
		publish(command);
	else if (strcmp(verb, "drop") == 0)
		drop(command);
	else
		errx(EXIT_FAILURE, "unknown command %s", verb);
	fflush(stdout);
	cJSON_Delete(command);
}

/* As many descriptors as may be, and timers that are not late on purpose. */
static void prepare_process(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	prctl(PR_SET_TIMERSLACK, 1);
	signal(SIGPIPE, SIG_IGN);
}

/* A command, or the end: it stays here until the command is done, so there is never a second one.
 */
static void on_input(struct watched *watched)
{
	static char *line;
	static size_t room;

	(void)watched;
	if (getline(&line, &room, stdin) < 0)
		exit(EXIT_SUCCESS);
	execute(line);
}

int main(void)
{
	struct watched input = {STDIN_FILENO, on_input};

	prepare_process();
	loop_watch(&input, EPOLLIN);
	setvbuf(stdin, NULL, _IONBF, 0); /* epoll does not see what a buffer holds */
	for (;;)
		loop_turn(-1);
}
