/*
 * Subscribers, see subscriber.h. State: the list of groups, and one buffer to read into, shared by
 * all. Blocks in the event loop while a group connects. A connection that is refused ends the
 * program; one that the server ends later is counted.
 */
#include "tests/bench/subscriber.h"

#include <err.h>
#include <errno.h>
#include <openssl/hmac.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "tests/bench/wire.h"

#define AUTH_OK "{\"type\":\"auth_ok\"}"
#define OPEN_AUTH "{\"type\":\"auth\"}"

enum {
	BUFFER_SIZE = 1 << 20,
	CONTROL_MAX = 125,
	TOPIC_SIZE = 128,
	CLAIMS_MAX = 400,
	AUTH_MAX = 1024,
	REQUEST_MAX = 1024,
	DAY_S = 86400,
	SIGNATURE_BYTES = 32,
	PORTS_AN_ADDRESS = 10000, /* the kernel has 28,000 for each client address */
	FIRST_ADDRESS = 0x7f000002 /* 127.0.0.2 */
};

static const int64_t stall_ns = INT64_C(20) * 1000 * 1000 * 1000;

enum state { CONNECTING, HANDSHAKE, AUTH, OPEN, CLOSED };

/* What has come of a frame that is not whole yet. */
struct partial {
	size_t len;
	char bytes[];
};

struct subscriber {
	struct watched watched;
	enum state state;
	uint32_t number; /* in its group */
	struct group *group;
	uint32_t received[LANES]; /* pushes: the number that must come next */
	struct partial *partial; /* or NULL */
};

static SLIST_HEAD(, group) groups = SLIST_HEAD_INITIALIZER(groups);
static char buffer[BUFFER_SIZE];

static void put(struct subscriber *subscriber, const char *bytes, size_t len)
{
	if (send(subscriber->watched.fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(EXIT_FAILURE, "send");
}

static void put_frame(struct subscriber *subscriber, int opcode, const char *payload, size_t len)
{
	char frame[AUTH_MAX + FRAME_HEADER_MAX];

	put(subscriber, frame, frame_write(frame, opcode, payload, len));
}

static void write_topic(const struct subscriber *subscriber, char topic[TOPIC_SIZE])
{
	const struct group_options *options = subscriber->group->options;

	if (options->topics > 1)
		snprintf(topic, TOPIC_SIZE, "%s.%lld", options->topic,
			 (long long)(subscriber->number % options->topics));
	else
		snprintf(topic, TOPIC_SIZE, "%s", options->topic);
}

static void to_hex(const unsigned char *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* An auth frame with a token as the PHP backend makes them; returns its length. */
static size_t write_auth(char out[AUTH_MAX], const char *secret, const char *topic, int64_t user_id)
{
	unsigned char signature[EVP_MAX_MD_SIZE];
	char claims[CLAIMS_MAX], hex[2 * CLAIMS_MAX + 1], signature_hex[2 * SIGNATURE_BYTES + 1];
	size_t len = (size_t)snprintf(
		claims, sizeof(claims), "{\"user_id\":%lld,\"topic\":\"%s\",\"expires\":%lld}",
		(long long)user_id, topic, (long long)clock_wall_ms() / 1000 + DAY_S);

	to_hex((const unsigned char *)claims, len, hex);
	HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)hex, 2 * len,
	     signature, NULL);
	to_hex(signature, SIGNATURE_BYTES, signature_hex);
	return (size_t)snprintf(out, AUTH_MAX, "{\"type\":\"auth\",\"token\":\"%s.%s\"}", hex,
				signature_hex);
}

/* Its auth frame; returns the length. */
static size_t make_auth(const struct subscriber *subscriber, char auth[AUTH_MAX])
{
	const struct group_options *options = subscriber->group->options;
	char topic[TOPIC_SIZE];

	if (!*options->secret)
		return (size_t)snprintf(auth, AUTH_MAX, OPEN_AUTH);
	write_topic(subscriber, topic);
	return write_auth(auth, options->secret, topic, subscriber->number + 1);
}

static void connected(struct subscriber *subscriber)
{
	char topic[TOPIC_SIZE], target[REQUEST_MAX / 2], request[REQUEST_MAX + AUTH_MAX];
	char auth[AUTH_MAX];
	size_t len;
	int error = 0;
	socklen_t error_len = sizeof(error);

	getsockopt(subscriber->watched.fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
	if (error != 0)
		errx(EXIT_FAILURE, "connect: %s", strerror(error));
	write_topic(subscriber, topic);
	snprintf(target, sizeof(target), "%s%s", subscriber->group->options->target, topic);
	if (subscriber->group->streams)
		len = stream_request(request, sizeof(request), target, auth,
				     make_auth(subscriber, auth));
	else
		len = upgrade_request(request, sizeof(request), target);
	put(subscriber, request, len);
	subscriber->state = HANDSHAKE;
	loop_watch(&subscriber->watched, EPOLLIN);
}

static void opened(struct subscriber *subscriber)
{
	subscriber->state = OPEN;
	subscriber->group->open++;
}

static void authenticate(struct subscriber *subscriber)
{
	char auth[AUTH_MAX];

	if (!subscriber->group->options->sends_auth) {
		opened(subscriber);
		return;
	}
	if (!subscriber->group->streams)
		put_frame(subscriber, FRAME_TEXT, auth, make_auth(subscriber, auth));
	subscriber->state = AUTH;
}

/* Returns how many bytes the head of the server's answer takes, 0 when it is not whole yet. */
static size_t take_handshake(struct subscriber *subscriber, const char *bytes, size_t len)
{
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	size_t head_len = end ? (size_t)(end - bytes) + 4 : 0;

	if (!end)
		return 0;
	if (!(subscriber->group->streams ? stream_accepted : upgrade_accepted)(bytes, head_len))
		errx(EXIT_FAILURE, "a handshake was refused: %.*s", (int)strcspn(bytes, "\r"),
		     bytes);
	authenticate(subscriber);
	return head_len;
}

static void take_push(struct subscriber *subscriber, const char *text, size_t len)
{
	struct group *group = subscriber->group;
	uint32_t sequence, lane;
	int64_t at_ns, now_ns = loop_now_ns();

	if (!push_read(text, len, group->payload_len, &sequence, &at_ns) ||
	    sequence >> LANE_SHIFT >= LANES) {
		group->corrupt++;
		return;
	}
	group->receipts++;
	if (group->deliveries)
		samples_add(group->deliveries, now_ns - at_ns);
	lane = sequence >> LANE_SHIFT;
	sequence &= (1U << LANE_SHIFT) - 1;
	if (sequence < subscriber->received[lane] || sequence >= group->published[lane]) {
		group->repeated++;
		return;
	}
	group->missed += sequence - subscriber->received[lane];
	subscriber->received[lane] = sequence + 1;
}

static void drop(struct subscriber *subscriber)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (subscriber->state == CLOSED)
		return;
	subscriber->state = CLOSED;
	setsockopt(subscriber->watched.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(subscriber->watched.fd);
	free(subscriber->partial);
	subscriber->partial = NULL;
}

static void ended(struct subscriber *subscriber)
{
	if (subscriber->state != OPEN)
		errx(EXIT_FAILURE, "a connection was ended before it was authenticated");
	subscriber->group->closed++;
	drop(subscriber);
}

static void take_frame(struct subscriber *subscriber, const struct frame *frame)
{
	if (frame->opcode == FRAME_PING && frame->len <= CONTROL_MAX)
		put_frame(subscriber, FRAME_PONG, frame->payload, frame->len);
	else if (frame->opcode == FRAME_CLOSE)
		ended(subscriber);
	else if (frame->opcode == FRAME_PONG && subscriber->group->streams)
		return; /* a comment */
	else if (frame->opcode != FRAME_TEXT || !frame->is_final)
		subscriber->group->corrupt++;
	else if (subscriber->state == OPEN)
		take_push(subscriber, frame->payload, frame->len);
	else if (frame->len == sizeof(AUTH_OK) - 1 &&
		 memcmp(frame->payload, AUTH_OK, frame->len) == 0)
		opened(subscriber);
	else
		errx(EXIT_FAILURE, "not authenticated: %.*s", (int)frame->len, frame->payload);
}

/* Takes all that is whole; returns how many bytes that were. */
static size_t take(struct subscriber *subscriber, const char *bytes, size_t len)
{
	struct frame frame;
	size_t at = 0, taken = 1;

	if (subscriber->state == HANDSHAKE)
		at = taken = take_handshake(subscriber, bytes, len);
	while (taken > 0 && at < len && subscriber->state != CLOSED) {
		taken = (subscriber->group->streams ? event_read : frame_read)(bytes + at, len - at,
									       &frame);
		if (taken > 0)
			take_frame(subscriber, &frame);
		at += taken;
	}
	return at;
}

static void on_event(struct watched *watched)
{
	struct subscriber *subscriber = (struct subscriber *)watched;
	struct partial *partial = subscriber->partial;
	size_t len = partial ? partial->len : 0;

	if (subscriber->state == CONNECTING) {
		connected(subscriber);
		return;
	}
	ssize_t got = recv(watched->fd, buffer + len, BUFFER_SIZE - len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		ended(subscriber);
		return;
	}
	if (partial)
		memcpy(buffer, partial->bytes, len);
	len += (size_t)got;
	size_t taken = take(subscriber, buffer, len);
	free(subscriber->partial);
	subscriber->partial = NULL;
	if (taken < len && subscriber->state != CLOSED) {
		subscriber->partial = xcalloc(1, sizeof(*partial) + len - taken);
		subscriber->partial->len = len - taken;
		memcpy(subscriber->partial->bytes, buffer + taken, len - taken);
	}
}

static void start(struct subscriber *subscriber, struct group *group, size_t number)
{
	const struct sockaddr_in *server = &group->options->server;
	struct sockaddr_in source = {.sin_family = AF_INET};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(EXIT_FAILURE, "socket");
	/* The port is chosen when it connects, so that one port serves several destinations. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	source.sin_addr.s_addr = htonl(FIRST_ADDRESS + (uint32_t)(number / PORTS_AN_ADDRESS));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) != 0)
		err(EXIT_FAILURE, "bind");
	*subscriber = (struct subscriber){
		.watched = {fd, on_event}, .group = group, .number = (uint32_t)number};
	if (connect(fd, (const struct sockaddr *)server, sizeof(*server)) != 0 &&
	    errno != EINPROGRESS)
		err(EXIT_FAILURE, "connect");
	loop_watch(&subscriber->watched, EPOLLOUT);
}

struct group *group_connect(const struct group_options *options)
{
	struct group *group = xcalloc(1, sizeof(*group));
	size_t started = 0, open_before = 0;
	int64_t moved_ns = loop_now_ns();

	group->name = xstrdup(options->name);
	group->options = options;
	group->streams = strstr(options->target, "/stream?") != NULL;
	group->count = (size_t)options->count;
	group->subscribers = xcalloc(group->count, sizeof(struct subscriber));
	SLIST_INSERT_HEAD(&groups, group, next);
	while (group->open < group->count) {
		for (; started < group->count && started - group->open < (size_t)options->underway;
		     started++)
			start(&group->subscribers[started], group,
			      (size_t)options->first + started);
		loop_turn(stall_ns);
		if (group->open > open_before)
			moved_ns = loop_now_ns();
		else if (loop_now_ns() - moved_ns > stall_ns)
			errx(EXIT_FAILURE, "only %zu of %zu connections were made", group->open,
			     group->count);
		open_before = group->open;
	}
	group->options = NULL;
	return group;
}

struct group *group_find(const char *name)
{
	struct group *group;

	SLIST_FOREACH(group, &groups, next)
	if (strcmp(group->name, name) == 0)
		return group;
	errx(EXIT_FAILURE, "no group %s", name);
}

void group_clear(struct group *group)
{
	memset(group->published, 0, sizeof(group->published));
	for (size_t i = 0; i < group->count; i++)
		memset(group->subscribers[i].received, 0, sizeof(group->published));
	group->sent = group->receipts = group->missed = group->repeated = 0;
	group->corrupt = group->closed = 0;
}

int64_t group_behind(const struct group *group)
{
	return group->sent * (int64_t)group->count - group->receipts - group->missed;
}

void group_drop(struct group *group)
{
	for (size_t i = 0; i < group->count; i++)
		drop(&group->subscribers[i]);
	SLIST_REMOVE(&groups, group, group, next);
	free(group->subscribers);
	free(group->name);
	free(group);
}
