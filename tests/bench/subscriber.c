/*
 * Subscribers, see subscriber.h. State: one buffer to read into, shared by all of them. Never
 * blocks. A connection that is refused ends the program; one that the server ends later is counted.
 */
#include "tests/bench/subscriber.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "tests/bench/credentials.h"
#include "tests/bench/fail.h"
#include "tests/bench/group.h"
#include "tests/bench/payload.h"
#include "tests/bench/websocket.h"

#define AUTH_OK "{\"type\":\"auth_ok\"}"
#define OPEN_AUTH "{\"type\":\"auth\"}"

enum {
	BUFFER_SIZE = 1 << 20,
	CONTROL_MAX = 125,
	TOPIC_SIZE = 128,
	PORTS_AN_ADDRESS = 10000, /* the kernel has 28,000 for each client address */
	FIRST_ADDRESS = 0x7f000002 /* 127.0.0.2 */
};

struct partial {
	size_t len;
	char bytes[];
};

static char buffer[BUFFER_SIZE];

static void bind_source(int fd, size_t number)
{
	struct sockaddr_in source = {.sin_family = AF_INET};
	const int on = 1;

	/* The port is chosen when it connects, so that one port serves several destinations. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	source.sin_addr.s_addr = htonl(FIRST_ADDRESS + (uint32_t)(number / PORTS_AN_ADDRESS));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) != 0)
		fail_errno("bind");
}

void subscriber_start(struct subscriber *subscriber, struct group *group, size_t number)
{
	const struct sockaddr_in *server = &group->options.server;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail_errno("socket");
	bind_source(fd, number);
	*subscriber = (struct subscriber){
		.watched = {WATCHED_SUBSCRIBER, fd}, .group = group, .number = (uint32_t)number};
	if (connect(fd, (const struct sockaddr *)server, sizeof(*server)) != 0 &&
	    errno != EINPROGRESS)
		fail_errno("connect");
	loop_watch(&subscriber->watched, EPOLLOUT);
}

static void put(struct subscriber *subscriber, const char *bytes, size_t len)
{
	if (send(subscriber->watched.fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail_errno("send");
}

static void put_frame(struct subscriber *subscriber, int opcode, const char *payload, size_t len)
{
	char frame[CREDENTIALS_MAX + WEBSOCKET_CLIENT_HEADER_MAX];

	put(subscriber, frame, websocket_client_frame(frame, opcode, payload, len));
}

static void write_topic(const struct subscriber *subscriber, char topic[TOPIC_SIZE])
{
	const struct group_options *options = &subscriber->group->options;

	if (options->topics > 1)
		snprintf(topic, TOPIC_SIZE, "%s.%lld", options->topic,
			 (long long)(subscriber->number % options->topics));
	else
		snprintf(topic, TOPIC_SIZE, "%s", options->topic);
}

static void connected(struct subscriber *subscriber)
{
	char topic[TOPIC_SIZE], target[GROUP_TARGET_SIZE], request[2 * GROUP_TARGET_SIZE];
	int error = 0;
	socklen_t error_len = sizeof(error);

	getsockopt(subscriber->watched.fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
	if (error != 0) {
		errno = error;
		fail_errno("connect");
	}
	write_topic(subscriber, topic);
	snprintf(target, sizeof(target), "%s%s", subscriber->group->options.target, topic);
	put(subscriber, request, websocket_request(request, sizeof(request), target));
	subscriber->state = SUBSCRIBER_HANDSHAKE;
	loop_watch_other(&subscriber->watched, EPOLLIN);
}

static void opened(struct subscriber *subscriber)
{
	subscriber->state = SUBSCRIBER_OPEN;
	memcpy(subscriber->received, subscriber->group->published, sizeof(subscriber->received));
	subscriber->group->open++;
}

static void authenticate(struct subscriber *subscriber)
{
	const struct group_options *options = &subscriber->group->options;
	char topic[TOPIC_SIZE], auth[CREDENTIALS_MAX];

	subscriber->state = SUBSCRIBER_AUTH;
	switch (options->auth) {
	case GROUP_NO_AUTH:
		opened(subscriber);
		break;
	case GROUP_OPEN:
		put_frame(subscriber, WEBSOCKET_TEXT, OPEN_AUTH, sizeof(OPEN_AUTH) - 1);
		break;
	case GROUP_TOKEN:
		write_topic(subscriber, topic);
		put_frame(subscriber, WEBSOCKET_TEXT, auth,
			  credentials_write(auth, options->secret, topic, subscriber->number + 1));
		break;
	}
}

/* Returns how many bytes the head of the server's answer takes, 0 when it is not whole yet. */
static size_t take_handshake(struct subscriber *subscriber, const char *bytes, size_t len)
{
	const char *end = memmem(bytes, len, "\r\n\r\n", 4);
	size_t head_len = end ? (size_t)(end - bytes) + 4 : 0;

	if (!end)
		return 0;
	if (!websocket_accepted(bytes, head_len))
		fail("a handshake was refused: %.*s", (int)strcspn(bytes, "\r"), bytes);
	authenticate(subscriber);
	return head_len;
}

static void take_push(struct subscriber *subscriber, const char *text, size_t len)
{
	struct group *group = subscriber->group;
	uint32_t sequence, lane;
	int64_t at_ns, now_ns = loop_now_ns();

	if (!payload_read(text, len, group->payload_len, &sequence, &at_ns) ||
	    sequence >> LANE_SHIFT >= LANES) {
		group->corrupt++;
		return;
	}
	group->receipts++;
	group->last_ns = now_ns;
	samples_add(&group->deliveries, now_ns - at_ns);
	lane = sequence >> LANE_SHIFT;
	sequence &= (1U << LANE_SHIFT) - 1;
	if (sequence < subscriber->received[lane] || sequence >= group->published[lane]) {
		group->repeated++;
		return;
	}
	group->missed += sequence - subscriber->received[lane];
	subscriber->received[lane] = sequence + 1;
}

static void end(struct subscriber *subscriber)
{
	if (subscriber->state != SUBSCRIBER_OPEN)
		fail("a connection was ended before it was authenticated");
	subscriber->group->closed++;
	subscriber_drop(subscriber);
}

static void take_frame(struct subscriber *subscriber, const struct websocket_frame *frame)
{
	if (frame->opcode == WEBSOCKET_PING && frame->len <= CONTROL_MAX)
		put_frame(subscriber, WEBSOCKET_PONG, frame->payload, frame->len);
	else if (frame->opcode == WEBSOCKET_CLOSE)
		end(subscriber);
	else if (frame->opcode != WEBSOCKET_TEXT || !frame->is_final)
		subscriber->group->corrupt++;
	else if (subscriber->state == SUBSCRIBER_OPEN)
		take_push(subscriber, frame->payload, frame->len);
	else if (frame->len == sizeof(AUTH_OK) - 1 &&
		 memcmp(frame->payload, AUTH_OK, frame->len) == 0)
		opened(subscriber);
	else
		fail("not authenticated: %.*s", (int)frame->len, frame->payload);
}

/* Takes all that is whole; returns how many bytes that were. */
static size_t take(struct subscriber *subscriber, const char *bytes, size_t len)
{
	struct websocket_frame frame;
	size_t at = 0, taken = 1;

	if (subscriber->state == SUBSCRIBER_HANDSHAKE)
		at = taken = take_handshake(subscriber, bytes, len);
	while (taken > 0 && at < len && subscriber->state != SUBSCRIBER_CLOSED) {
		taken = websocket_server_frame(bytes + at, len - at, &frame);
		if (taken > 0)
			take_frame(subscriber, &frame);
		at += taken;
	}
	return at;
}

static void keep_rest(struct subscriber *subscriber, size_t taken, size_t len)
{
	free(subscriber->partial);
	subscriber->partial = NULL;
	if (taken == len || subscriber->state == SUBSCRIBER_CLOSED)
		return;
	subscriber->partial = xcalloc(1, sizeof(struct partial) + len - taken);
	subscriber->partial->len = len - taken;
	memcpy(subscriber->partial->bytes, buffer + taken, len - taken);
}

void subscriber_on_event(struct subscriber *subscriber)
{
	struct partial *partial = subscriber->partial;
	size_t len = partial ? partial->len : 0;

	if (subscriber->state == SUBSCRIBER_CONNECTING) {
		connected(subscriber);
		return;
	}
	if (partial)
		memcpy(buffer, partial->bytes, len);
	ssize_t got = recv(subscriber->watched.fd, buffer + len, BUFFER_SIZE - len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		end(subscriber);
		return;
	}
	len += (size_t)got;
	keep_rest(subscriber, take(subscriber, buffer, len), len);
}

void subscriber_drop(struct subscriber *subscriber)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (subscriber->state == SUBSCRIBER_CLOSED)
		return;
	subscriber->state = SUBSCRIBER_CLOSED;
	setsockopt(subscriber->watched.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(subscriber->watched.fd);
	free(subscriber->partial);
	subscriber->partial = NULL;
}
