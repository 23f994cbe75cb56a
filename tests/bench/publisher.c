/*
 * Publishers, see publisher.h. State: the run's own. Blocks until all is answered and delivered, or
 * nothing has moved for a while: what is missing then is counted. When the server ends a connection
 * that it had announced to end, or one that is idle, a new one is made between two requests.
 */
#include "tests/bench/publisher.h"

#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "tests/bench/wire.h"

enum { REPLY_MAX = 1 << 20, STATUSES = 600 };

static const int64_t second_ns = INT64_C(1000) * 1000 * 1000;
static const int64_t stall_ns = INT64_C(20) * 1000 * 1000 * 1000;

struct publisher {
	struct watched watched;
	struct run *run;
	struct group *group; /* or NULL */
	uint32_t lane;
	uint32_t sent; /* pushes */
	bool is_busy; /* an answer is to come */
	int64_t sent_ns, due_ns;
	char *request; /* its payload is written anew each time */
	size_t request_len, payload_at;
	char *reply;
	size_t reply_len;
};

struct run {
	const struct run_options *options;
	struct publisher *publishers;
	int64_t sent, start_ns, end_ns, interval_ns;
	struct samples answers; /* from sending to the whole answer */
	struct samples deliveries; /* of all groups */
	int64_t answered_ns; /* when the last one came */
	int64_t statuses[STATUSES]; /* how often each came */
};

static void open_connection(struct publisher *publisher);

static void reconnect(struct publisher *publisher)
{
	close(publisher->watched.fd);
	open_connection(publisher);
}

static void answered(struct publisher *publisher, const struct reply *reply)
{
	struct run *run = publisher->run;

	run->answered_ns = loop_now_ns();
	samples_add(&run->answers, run->answered_ns - publisher->sent_ns);
	if (reply->status > 0 && reply->status < STATUSES)
		run->statuses[reply->status]++;
	publisher->is_busy = false;
	publisher->reply_len = 0;
	if (reply->closes)
		reconnect(publisher);
}

static void on_event(struct watched *watched)
{
	struct publisher *publisher = (struct publisher *)watched;
	struct reply reply;
	ssize_t got = recv(watched->fd, publisher->reply + publisher->reply_len,
			   REPLY_MAX - publisher->reply_len, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 && !publisher->is_busy) {
		reconnect(publisher);
		return;
	}
	if (got <= 0)
		errx(EXIT_FAILURE, "no answer, or one that is too long");
	publisher->reply_len += (size_t)got;
	if (reply_read(publisher->reply, publisher->reply_len, &reply))
		answered(publisher, &reply);
}

static void open_connection(struct publisher *publisher)
{
	const struct sockaddr_in *server = &publisher->run->options->server;
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)server, sizeof(*server)) != 0)
		err(EXIT_FAILURE, "cannot connect to publish");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	publisher->watched = (struct watched){fd, on_event};
	publisher->reply_len = 0;
	loop_watch(&publisher->watched, EPOLLIN);
}

/* All of it, with blanks in the place of the payload. */
static void write_request(struct publisher *publisher)
{
	const struct run_options *options = publisher->run->options;
	const char *name = publisher->group ? publisher->group->name : "";
	const char *mark = strchrnul(options->before, '#');
	int before_len = (int)(mark - options->before), payload_len = (int)options->payload_len;
	size_t len = strlen(options->before) + options->payload_len + strlen(options->after);

	if (*mark)
		len += strlen(name) - 1;
	int request_len = asprintf(
		&publisher->request,
		"%s %s HTTP/1.1\r\nHost: localhost\r\nX-Worker-Secret: %s\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s%s%s%*s%s",
		payload_len > 0 ? "POST" : "GET", options->path, options->secret, len, before_len,
		options->before, *mark ? name : "", *mark ? mark + 1 : "", payload_len, "",
		options->after);
	if (request_len < 0)
		errx(EXIT_FAILURE, "no memory");
	publisher->request_len = (size_t)request_len;
	publisher->payload_at =
		publisher->request_len - strlen(options->after) - options->payload_len;
}

static void open_publisher(struct run *run, size_t number)
{
	const struct run_options *options = run->options;
	struct publisher *publisher = &run->publishers[number];

	*publisher = (struct publisher){
		.run = run, .lane = number % LANES, .reply = xcalloc(1, REPLY_MAX)};
	if (options->group_count > 0) {
		publisher->group = options->groups[number % options->group_count];
		publisher->lane = (uint32_t)(number / options->group_count);
	}
	publisher->due_ns =
		run->start_ns + run->interval_ns * (int64_t)number / (int64_t)options->publishers;
	write_request(publisher);
	open_connection(publisher);
}

static bool may_send(const struct run *run, const struct publisher *publisher, int64_t now_ns)
{
	if (run->sent == run->options->count || publisher->is_busy)
		return false;
	if (run->options->until_delivered && publisher->group && group_behind(publisher->group) > 0)
		return false;
	return run->interval_ns == 0 || now_ns >= publisher->due_ns;
}

/* A publisher that is late because the answer before was late says when it should have sent: its
 * subscribers wait since then. One that woke a little late says when it did. */
static void send_next(struct run *run, struct publisher *publisher, int64_t now_ns)
{
	bool was_held_up = run->interval_ns > 0 && now_ns - publisher->due_ns > run->interval_ns;
	struct group *group = publisher->group;

	publisher->sent_ns = was_held_up ? publisher->due_ns : now_ns;
	publisher->due_ns += run->interval_ns;
	publisher->is_busy = true;
	run->sent++;
	if (group) {
		group->sent++;
		group->published[publisher->lane]++;
	}
	if (run->options->payload_len > 0)
		payload_write(publisher->request + publisher->payload_at, run->options->payload_len,
			      publisher->lane << LANE_SHIFT | publisher->sent++,
			      publisher->sent_ns);
	/* The socket blocks: all is sent. */
	if (send(publisher->watched.fd, publisher->request, publisher->request_len, MSG_NOSIGNAL) !=
	    (ssize_t)publisher->request_len)
		err(EXIT_FAILURE, "cannot send a request");
}

/* One look at all publishers; returns how many still wait for something. *wait_ns: until the next
 * one is due. */
static size_t step(struct run *run, int64_t *wait_ns)
{
	int64_t now_ns = loop_now_ns();
	size_t waiting = 0;

	*wait_ns = stall_ns;
	for (size_t i = 0; i < run->options->publishers; i++) {
		struct publisher *publisher = &run->publishers[i];

		if (may_send(run, publisher, now_ns))
			send_next(run, publisher, now_ns);
		waiting += publisher->is_busy;
		int64_t due_in_ns = publisher->due_ns - now_ns;
		if (run->interval_ns > 0 && run->sent < run->options->count &&
		    !publisher->is_busy && due_in_ns < *wait_ns)
			*wait_ns = due_in_ns > 0 ? due_in_ns : 0;
	}
	for (size_t i = 0; i < run->options->group_count; i++)
		waiting += group_behind(run->options->groups[i]) > 0;
	return waiting;
}

static void go(struct run *run)
{
	int64_t moved_ns = loop_now_ns(), before = -1, wait_ns;

	while (step(run, &wait_ns) > 0 || run->sent < run->options->count) {
		int64_t now = (int64_t)run->answers.count;

		for (size_t i = 0; i < run->options->group_count; i++)
			now += run->options->groups[i]->receipts;
		if (now != before)
			moved_ns = loop_now_ns();
		else if (loop_now_ns() - moved_ns > stall_ns)
			break;
		before = now;
		loop_turn(run->options->is_awake ? 0 : wait_ns);
	}
	run->end_ns = loop_now_ns();
}

static void print_faults(const struct run_options *options)
{
	long long missed = 0, repeated = 0, corrupt = 0, closed = 0, behind = 0;

	for (size_t i = 0; i < options->group_count; i++) {
		const struct group *group = options->groups[i];

		missed += group->missed;
		repeated += group->repeated;
		corrupt += group->corrupt;
		closed += group->closed;
		behind += group_behind(group);
	}
	printf(",\"missed\":%lld,\"repeated\":%lld,\"corrupt\":%lld,\"closed\":%lld,"
	       "\"behind\":%lld}\n",
	       missed, repeated, corrupt, closed, behind);
}

static void print_each(const struct samples *answers)
{
	printf("\"each\":[");
	for (size_t i = 0; i < answers->count; i++)
		printf("%s%.3f", i > 0 ? "," : "", (double)answers->values_ns[i] / 1000.0);
	printf("],");
}

static void print(struct run *run)
{
	const char *comma = "";

	printf("{\"sent\":%lld,\"seconds\":%.6f,\"answered_seconds\":%.6f,\"statuses\":{",
	       (long long)run->sent, (double)(run->end_ns - run->start_ns) / (double)second_ns,
	       (double)(run->answered_ns - run->start_ns) / (double)second_ns);
	for (int status = 0; status < STATUSES; status++) {
		if (run->statuses[status] == 0)
			continue;
		printf("%s\"%d\":%lld", comma, status, (long long)run->statuses[status]);
		comma = ",";
	}
	printf("},");
	samples_print(&run->answers, "answers");
	printf(",");
	if (run->options->tells_each)
		print_each(&run->answers);
	samples_print(&run->deliveries, "deliveries");
	print_faults(run->options);
}

static void prepare_group(struct run *run, struct group *group)
{
	group_clear(group);
	group->payload_len = run->options->payload_len;
	group->deliveries = &run->deliveries;
	if (run->options->publishers > 0)
		return;
	/* Published elsewhere: how many by whom is not known, only how many. */
	run->sent = group->sent = run->options->count;
	for (size_t lane = 0; lane < LANES; lane++)
		group->published[lane] = 1U << LANE_SHIFT;
}

void publishers_run(const struct run_options *options)
{
	struct run run = {.options = options, .start_ns = loop_now_ns()};

	if (options->rate > 0 && options->publishers > 0)
		run.interval_ns = second_ns * (int64_t)options->publishers / options->rate;
	run.publishers = xcalloc(options->publishers, sizeof(struct publisher));
	for (size_t i = 0; i < options->group_count; i++)
		prepare_group(&run, options->groups[i]);
	for (size_t i = 0; i < options->publishers; i++)
		open_publisher(&run, i);
	go(&run);
	print(&run);
	for (size_t i = 0; i < options->publishers; i++) {
		close(run.publishers[i].watched.fd);
		free(run.publishers[i].request);
		free(run.publishers[i].reply);
	}
	for (size_t i = 0; i < options->group_count; i++)
		options->groups[i]->deliveries = NULL;
	free(run.publishers);
	free(run.deliveries.values_ns);
	free(run.answers.values_ns);
}
