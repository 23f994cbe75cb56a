/*
 * Connecting, see dial.h. State: how many threads there are. A thread has a socket pair with
 * whoever asks, and nothing else: over that goes the connected socket, or why there is none. When
 * nobody asks any more, the kernel closes what is on its way.
 */
#include "gateway/cluster/dial.h"

#include <errno.h>
#include <fcntl.h>
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
	char host[REDIS_URL_HOST_SIZE], port[8], path[UNIX_SOCKET_PATH_MAX + 1];
	int answer; /* the thread's end */
	char why[DIAL_WHY_SIZE];
};

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
	for (at = found; at && fd < 0 && tried++ < DIAL_ADDRESSES_MAX; at = at->ai_next)
		fd = connect_to(at);
	freeaddrinfo(found);
	return fd;
}

/* Says what has come of it, and ends. */
static void answer(struct dial *dial, int fd)
{
	if (fd >= 0) {
		unix_send_fd(dial->answer, fd);
		close(fd);
	} else {
		send(dial->answer, dial->why, strlen(dial->why), MSG_NOSIGNAL);
	}
	close(dial->answer);
	free(dial);
	atomic_fetch_sub(&running, 1);
}

static void *run(void *argument)
{
	struct dial *dial = argument;
	int fd = dial->path[0] ? unix_connect(dial->path, SOCK_STREAM) : connect_to_any(dial);

	if (fd < 0 && !dial->why[0])
		snprintf(dial->why, DIAL_WHY_SIZE, "cannot connect: %s",
			 errno == ETIME ? "no answer in time" : uv_strerror(-errno));
	answer(dial, fd);
	return NULL;
}

int dial_start(const struct redis_url *url)
{
	struct dial *dial;
	pthread_attr_t detached;
	pthread_t thread;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	dial = xcalloc(1, sizeof(*dial));
	dial->answer = ends[1];
	memcpy(dial->host, url->host, sizeof(dial->host));
	memcpy(dial->path, url->path, sizeof(dial->path));
	snprintf(dial->port, sizeof(dial->port), "%u", url->port);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (atomic_fetch_add(&running, 1) >= DIALS_MAX ||
	    pthread_create(&thread, &detached, run, dial) != 0) {
		snprintf(dial->why, DIAL_WHY_SIZE, "too many attempts to connect have not ended");
		answer(dial, -1);
	}
	pthread_attr_destroy(&detached);
	return ends[0];
}

bool dial_take(int dial, char why[DIAL_WHY_SIZE])
{
	ssize_t len = recv(dial, why, DIAL_WHY_SIZE - 1, MSG_PEEK);
	int fd = -1;
	bool is_taken;

	if (len > 1) {
		why[len] = '\0';
		return false;
	}
	is_taken = unix_receive_fd(dial, &fd) && fd >= 0 && dup3(fd, dial, O_CLOEXEC) == dial;
	snprintf(why, DIAL_WHY_SIZE, "cannot connect: there is no descriptor left");
	if (fd >= 0)
		close(fd);
	return is_taken;
}
