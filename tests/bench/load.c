/*
 * The load generator: subscribers by the ten thousand and publishers, in one process and one
 * thread. It reads commands from stdin, a line each, and answers each with a line of JSON on
 * stdout; the driver sends them. Between commands it answers the servers' pings. A connection that
 * is refused, or a command that is wrong, ends it with a message.
 *
 * connect  group, port, target (/ws?topic=), topic, count; topics (1), first (0), underway (256),
 *          auth (none, open, token), secret
 * publish  port, path, before, after (what stands around the payload), bytes, count; secret,
 *          rate (0: as fast as it is answered), groups (# in `before` is the name of one) and until
 *          (answered, delivered), publishers (1; of each group, or who publish to nobody), awake
 * (0): 1 for never to sleep meanwhile request  port, path, count; secret, rate usage    pids drop
 * group
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/arguments.h"
#include "tests/bench/fail.h"
#include "tests/bench/group.h"
#include "tests/bench/loop.h"
#include "tests/bench/run.h"
#include "tests/bench/usage.h"

enum { UNDERWAY = 256 };

static struct sockaddr_in server_of(const struct arguments *arguments)
{
	struct sockaddr_in server = {.sin_family = AF_INET};

	server.sin_port = htons((uint16_t)strtoul(argument_text(arguments, "port"), NULL, 10));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return server;
}

static enum group_auth auth_of(const struct arguments *arguments)
{
	const char *text = argument_text(arguments, "auth");

	if (strcmp(text, "token") == 0)
		return GROUP_TOKEN;
	return strcmp(text, "open") == 0 ? GROUP_OPEN : GROUP_NO_AUTH;
}

static void connect_group(const struct arguments *arguments)
{
	const struct group_options options = {
		.name = argument_text(arguments, "group"),
		.server = server_of(arguments),
		.target = argument_text(arguments, "target"),
		.topic = argument_text(arguments, "topic"),
		.topics = argument_number(arguments, "topics", 1),
		.first = argument_number(arguments, "first", 0),
		.count = argument_number(arguments, "count", 1),
		.underway = argument_number(arguments, "underway", UNDERWAY),
		.auth = auth_of(arguments),
		.secret = argument_text_or(arguments, "secret", ""),
	};
	int64_t start_ns = loop_now_ns();
	const struct group *group = group_connect(&options);

	printf("{\"connected\":%zu,\"seconds\":%.6f}\n", group->open,
	       (double)(loop_now_ns() - start_ns) / 1e9);
}

static struct group *group_named(const char *name)
{
	struct group *group = group_find(name);

	if (!group)
		fail("no group %s", name);
	return group;
}

static void read_run(const struct arguments *arguments, struct run_options *options)
{
	*options = (struct run_options){
		.count = argument_number(arguments, "count", 1),
		.rate = argument_number(arguments, "rate", 0),
		.publishers = (size_t)argument_number(arguments, "publishers", 1),
		.is_awake = argument_number(arguments, "awake", 0) != 0,
	};
	if (strcmp(argument_text_or(arguments, "until", "answered"), "delivered") == 0)
		options->until = RUN_DELIVERED;
	if (options->publishers < 1 || options->publishers > MOST_PUBLISHERS)
		fail("too many publishers");
}

/* As many publishers for each group. */
static void read_groups(const char *list, struct run_options *options)
{
	char names[GROUP_NAME_SIZE * MOST_PUBLISHERS], *rest = NULL;

	snprintf(names, sizeof(names), "%s", list);
	for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (options->group_count == MOST_PUBLISHERS)
			fail("too many groups");
		options->groups[options->group_count++] = group_named(name);
	}
	if (options->publishers > LANES)
		fail("too many publishers of one group");
	options->publishers *= options->group_count;
	if (options->publishers > MOST_PUBLISHERS)
		fail("too many publishers");
}

static void publish(const struct arguments *arguments)
{
	struct publish_plan plan = {
		.server = server_of(arguments),
		.method = "POST",
		.path = argument_text(arguments, "path"),
		.secret = argument_text_or(arguments, "secret", NULL),
		.before = argument_text(arguments, "before"),
		.after = argument_text(arguments, "after"),
		.payload_len = (size_t)argument_number(arguments, "bytes", 0),
	};
	struct run_options options;
	const char *groups = argument_text_or(arguments, "groups", NULL);

	read_run(arguments, &options);
	if (groups)
		read_groups(groups, &options);
	run(&plan, &options);
}

static void request(const struct arguments *arguments)
{
	struct publish_plan plan = {
		.server = server_of(arguments),
		.method = "GET",
		.path = argument_text(arguments, "path"),
		.secret = argument_text_or(arguments, "secret", NULL),
		.before = "",
		.after = "",
	};
	struct run_options options;

	read_run(arguments, &options);
	run(&plan, &options);
}

static void tell_usage(const struct arguments *arguments)
{
	struct usage usage = usage_of(argument_text(arguments, "pids"));

	printf("{\"cpu_ns\":%lld,\"ticks_ns\":%lld,\"rss_bytes\":%lld}\n", (long long)usage.cpu_ns,
	       (long long)usage.ticks_ns, (long long)usage.rss_bytes);
}

static void drop(const struct arguments *arguments)
{
	struct group *group = group_named(argument_text(arguments, "group"));

	printf("{\"received\":%lld,\"corrupt\":%lld,\"closed\":%lld}\n", (long long)group->receipts,
	       (long long)group->corrupt, (long long)group->closed);
	group_drop(group);
}

static const struct {
	const char *verb;
	void (*execute)(const struct arguments *);
} commands[] = {
	{"connect", connect_group}, {"publish", publish}, {"request", request},
	{"usage", tell_usage},	    {"drop", drop},
};

static void execute(char *line)
{
	struct arguments arguments;

	arguments_read(line, &arguments);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (arguments.verb && strcmp(arguments.verb, commands[i].verb) == 0) {
			commands[i].execute(&arguments);
			fflush(stdout);
			return;
		}
	}
	fail("unknown command");
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

int main(void)
{
	struct watched input = {WATCHED_COMMANDS, STDIN_FILENO};
	char *line = NULL;
	size_t room = 0;

	prepare_process();
	loop_open();
	loop_watch(&input, EPOLLIN);
	setvbuf(stdin, NULL, _IONBF, 0); /* epoll does not see what a buffer holds */
	for (;;) {
		while (!loop_turn(-1))
			;
		if (getline(&line, &room, stdin) < 0)
			break;
		execute(line);
	}
	free(line);
	loop_close();
	return EXIT_SUCCESS;
}
