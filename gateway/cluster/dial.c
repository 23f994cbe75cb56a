/*
 * Connecting, see dial.h. State: how many threads there are. A struct dial is shared by the loop
 * and its thread; the last of the two frees it. The thread may outlive the loop, so it wakes it
 * only under the mutex, while the loop has not given it up.
 */
#include "gateway/cluster/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"

static atomic_int running;

struct dial {
	uv_async_t answered; /* first: its handle is freed as the whole */
	dial_answer *answer;
	void *context;
	char host[REDIS_URL_HOST_SIZE], port[8], path[UNIX_SOCKET_PATH_MAX + 1];
	char why[DIAL_WHY_SIZE];
	atomic_bool is_given_up;
	atomic_int owners;
	pthread_mutex_t lock; /* guards: */
	int fd; /* for whoever takes it */
};

static void release(struct dial *dial)
{
	if (atomic_fetch_sub(&dial->owners, 1) > 1)
		return;
	pthread_mutex_destroy(&dial->lock);
	free(dial);
}

/* -1 with errno. */
static int connect_to(const struct addrinfo *address)
{
	int error = 0, one = 1;
	socklen_t size = sizeof(error);
	struct pollfd polled = {.events = POLLOUT};

	polled.fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (polled.fd < 0)
		return -1;
	setsockopt(polled.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(polled.fd, address->ai_addr, address->ai_addrlen) != 0)
		error = errno;
	if (error == EINPROGRESS && poll(&polled, 1, DIAL_ADDRESS_MS) != 1)
		error = ETIME;
	else if (error == EINPROGRESS)
		getsockopt(polled.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error == 0)
		return polled.fd;
	close(polled.fd);
	errno = error;
	return -1;
}

static int connect_to_any(struct dial *dial)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL, *at;
	int fd = -1, tried = 0, fault = getaddrinfo(dial->host, dial->port, &hints, &found);

	if (fault != 0) {
		snprintf(dial->why, DIAL_WHY_SIZE, "cannot look up the host: %s",
			 fault == EAI_SYSTEM ? "the system is out of something"
					     : gai_strerror(fault));
		return -1;
	}
	errno = ETIME;
	for (at = found; at && fd < 0 && tried++ < DIAL_ADDRESSES_MAX; at = at->ai_next)
		fd = dial->is_given_up ? -1 : connect_to(at);
	freeaddrinfo(found);
	return fd;
}

static void *run(void *argument)
{
	struct dial *dial = argument;
	int fd = dial->path[0] ? unix_connect(dial->path, SOCK_STREAM) : connect_to_any(dial);

	if (fd < 0 && !dial->why[0])
		snprintf(dial->why, DIAL_WHY_SIZE, "cannot connect: %s",
			 errno == ETIME ? "no answer in time" : uv_strerror(-errno));
	atomic_fetch_sub(&running, 1);
	pthread_mutex_lock(&dial->lock);
	if (dial->is_given_up && fd >= 0)
		close(fd);
	dial->fd = dial->is_given_up ? -1 : fd;
	if (!dial->is_given_up)
		uv_async_send(&dial->answered);
	pthread_mutex_unlock(&dial->lock);
	release(dial);
	return NULL;
}

static int take_fd(struct dial *dial, bool gives_up)
{
	int fd;

	pthread_mutex_lock(&dial->lock);
	fd = dial->fd;
	dial->fd = -1;
	dial->is_given_up = gives_up;
	pthread_mutex_unlock(&dial->lock);
	return fd;
}

static void on_answered(uv_async_t *async)
{
	struct dial *dial = (struct dial *)async;

	dial->answer(dial->context, take_fd(dial, false), dial->why);
}

struct dial *dial_start(struct uv_loop_s *loop, const struct redis_url *url, dial_answer *answer,
			void *context)
{
	struct dial *dial = xcalloc(1, sizeof(*dial));
	pthread_attr_t detached;
	pthread_t thread;
	bool is_started;

	dial->answer = answer;
	dial->context = context;
	dial->fd = -1;
	dial->owners = 2;
	memcpy(dial->host, url->host, sizeof(dial->host));
	memcpy(dial->path, url->path, sizeof(dial->path));
	snprintf(dial->port, sizeof(dial->port), "%u", url->port);
	pthread_mutex_init(&dial->lock, NULL);
	uv_async_init(loop, &dial->answered, on_answered);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	is_started = atomic_fetch_add(&running, 1) < DIALS_MAX &&
		     pthread_create(&thread, &detached, run, dial) == 0;
	pthread_attr_destroy(&detached);
	if (is_started)
		return dial;
	atomic_fetch_sub(&running, 1);
	dial->owners = 1;
	snprintf(dial->why, DIAL_WHY_SIZE, "too many attempts to connect have not ended");
	uv_async_send(&dial->answered);
	return dial;
}

static void on_closed(uv_handle_t *handle)
{
	release((struct dial *)handle);
}

void dial_end(struct dial *dial)
{
	int fd;

	if (!dial)
		return;
	fd = take_fd(dial, true);
	if (fd >= 0)
		close(fd);
	uv_close((uv_handle_t *)&dial->answered, on_closed);
}
