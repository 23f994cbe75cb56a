/*
 * Publishers, see publisher.h. State: in each one. Blocks while it connects and sends, on loopback
 * for microseconds. When the server ends a connection that it had announced to end, or one that is
 * idle, a new one is made between two requests.
 */
#include "tests/bench/publisher.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "tests/bench/fail.h"
#include "tests/bench/http_reply.h"
#include "tests/bench/payload.h"

enum { FIRST_ROOM = 16384, HEAD_MAX = 1024, BEFORE_MAX = 512 };

static void open_connection(struct publisher *publisher)
{
	const struct sockaddr_in *server = &publisher->plan->server;
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail_errno("socket");
	if (connect(fd, (const struct sockaddr *)server, sizeof(*server)) != 0)
		fail_errno("cannot connect to publish");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	publisher->watched = (struct watched){WATCHED_PUBLISHER, fd};
	publisher->reply_len = 0;
	loop_watch(&publisher->watched, EPOLLIN);
}

/* What stands before the payload, with the name of the group in the place of a #. */
static size_t write_before(const struct publisher *publisher, char *out, size_t size)
{
	const char *before = publisher->plan->before;
	const char *mark = publisher->group ? strchr(before, '#') : NULL;
	int len = mark ? snprintf(out, size, "%.*s%s%s", (int)(mark - before), before,
				  publisher->group->name, mark + 1)
		       : snprintf(out, size, "%s", before);

	if (len < 0 || (size_t)len >= size)
		fail("what stands before the payload is too long");
	return (size_t)len;
}

static size_t write_head(const struct publish_plan *plan, char *out, size_t size, size_t body_len)
{
	const char *secret = plan->secret ? plan->secret : "";
	int len = snprintf(out, size,
			   "%s %s HTTP/1.1\r\n"
			   "Host: localhost\r\n"
			   "X-Worker-Secret: %s\r\n"
			   "Content-Type: application/json\r\n"
			   "Content-Length: %zu\r\n\r\n",
			   plan->method, plan->path, secret, body_len);

	if (len < 0 || (size_t)len >= size)
		fail("the request does not fit");
	return (size_t)len;
}

static void write_request(struct publisher *publisher)
{
	const struct publish_plan *plan = publisher->plan;
	char before[BEFORE_MAX];
	size_t before_len = write_before(publisher, before, sizeof(before));
	size_t after_len = strlen(plan->after);
	size_t body_len = before_len + plan->payload_len + after_len;
	char *out = xcalloc(1, HEAD_MAX + body_len);
	size_t head_len = write_head(plan, out, HEAD_MAX, body_len);

	memcpy(out + head_len, before, before_len);
	publisher->payload_at = head_len + before_len;
	memcpy(out + publisher->payload_at + plan->payload_len, plan->after, after_len);
	publisher->request = out;
	publisher->request_len = head_len + body_len;
}

void publisher_open(struct publisher *publisher, struct publish_plan *plan, struct group *group,
		    uint32_t lane)
{
	*publisher = (struct publisher){
		.plan = plan, .group = group, .lane = lane, .reply_room = FIRST_ROOM};
	publisher->reply = xcalloc(1, publisher->reply_room);
	write_request(publisher);
	open_connection(publisher);
	if (group)
		group->payload_len = plan->payload_len;
}

void publisher_close(struct publisher *publisher)
{
	close(publisher->watched.fd);
	free(publisher->request);
	free(publisher->reply);
}

void publisher_send(struct publisher *publisher, int64_t at_ns)
{
	struct group *group = publisher->group;
	size_t done = 0;

	if (publisher->plan->payload_len > 0)
		payload_write(
			publisher->request + publisher->payload_at, publisher->plan->payload_len,
			publisher->lane << LANE_SHIFT | (group ? group->published[publisher->lane]++
							       : (uint32_t)publisher->sent),
			at_ns);
	if (group)
		group->sent++;
	publisher->sent++;
	publisher->is_busy = true;
	publisher->is_awaited = group != NULL;
	publisher->sent_ns = at_ns;
	while (done < publisher->request_len) {
		ssize_t sent = send(publisher->watched.fd, publisher->request + done,
				    publisher->request_len - done, MSG_NOSIGNAL);

		if (sent < 0)
			fail_errno("cannot send a request");
		done += (size_t)sent;
	}
}

static void reconnect(struct publisher *publisher)
{
	close(publisher->watched.fd);
	open_connection(publisher);
}

static void answered(struct publisher *publisher, const struct http_reply *reply)
{
	struct publish_plan *plan = publisher->plan;

	plan->answered_ns = loop_now_ns();
	samples_add(&plan->answers, plan->answered_ns - publisher->sent_ns);
	if (reply->status > 0 && reply->status < STATUSES)
		plan->statuses[reply->status]++;
	plan->body_len = reply->body_len;
	publisher->is_busy = false;
	publisher->reply_len = 0;
	if (reply->closes)
		reconnect(publisher);
}

void publisher_on_event(struct publisher *publisher)
{
	struct http_reply reply;

	if (publisher->reply_len == publisher->reply_room) {
		publisher->reply_room *= 2;
		publisher->reply = xreallocarray(publisher->reply, publisher->reply_room, 1);
	}
	ssize_t got = recv(publisher->watched.fd, publisher->reply + publisher->reply_len,
			   publisher->reply_room - publisher->reply_len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 && !publisher->is_busy) {
		reconnect(publisher);
		return;
	}
	if (got <= 0)
		fail("the server ended a connection without an answer");
	publisher->reply_len += (size_t)got;
	if (http_reply_read(publisher->reply, publisher->reply_len, &reply))
		answered(publisher, &reply);
}
