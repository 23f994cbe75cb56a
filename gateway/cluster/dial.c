/*
 * Connecting, see dial.h. State: how many threads there are, and what a look-up has brought too
 * late. A dial belongs to its thread and to whoever has started it, and goes with the last of them,
 * and with it the sockets that nobody has taken.
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
#include "shared/base/clock.h"

struct place {
	char host[REDIS_URL_HOST_SIZE], port[8];
	struct {
		struct sockaddr_storage at;
		socklen_t size;
	} addresses[DIAL_ADDRESSES_MAX];
	int count; /* of addresses */
	int64_t found_ms;
};

static atomic_int running;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for a moment */
static struct place late; /* under it */

struct dial {
	/* The loop's. */
	uv_async_t answered;
	uv_timer_t timer;
	dial_done *done;
	void *context;
	int handles; /* that are not closed yet */

	/* The thread's, until it has answered. */
	struct place place;
	char path[UNIX_SOCKET_PATH_MAX + 1]; /* "": it is a place */
	int sockets[DIAL_SOCKETS_MAX];
	size_t count, connected;
	char why[DIAL_WHY_SIZE];

	atomic_bool
		is_given_up; /* set under the lock, and under it the thread says that it is done */
	atomic_int owners;
};

static void release(struct dial *dial)
{
	if (atomic_fetch_sub(&dial->owners, 1) > 1)
		return;
	while (dial->connected > 0)
		close(dial->sockets[--dial->connected]);
	free(dial);
}

static bool look_up(struct dial *dial)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct place *place = &dial->place;
	struct addrinfo *found = NULL;
	int fault = getaddrinfo(place->host, place->port, &hints, &found);

	if (fault != 0) {
		snprintf(dial->why, DIAL_WHY_SIZE, "cannot look up the host: %s",
			 fault == EAI_SYSTEM ? "the system is out of something"
					     : gai_strerror(fault));
		return false;
	}
	for (struct addrinfo *at = found; at && place->count < DIAL_ADDRESSES_MAX;
	     at = at->ai_next) {
		memcpy(&place->addresses[place->count].at, at->ai_addr, at->ai_addrlen);
		place->addresses[place->count++].size = at->ai_addrlen;
	}
	freeaddrinfo(found);
	place->found_ms = clock_monotonic_ms();
	return true;
}

/* Nobody waits for a look-up that takes longer than DIAL_MS, as with a name server that is down and
 * another one that is asked after it: the next attempt is to have what it brings. */
static bool find(struct dial *dial)
{
	struct place *place = &dial->place;
	bool is_known;

	pthread_mutex_lock(&lock);
	is_known = clock_monotonic_ms() - late.found_ms < DIAL_LATE_MS &&
		   strcmp(late.host, place->host) == 0 && strcmp(late.port, place->port) == 0;
	if (is_known)
		*place = late;
	pthread_mutex_unlock(&lock);
	if (is_known)
		return true;
	if (!look_up(dial))
		return false;
	if (!dial->is_given_up)
		return true;
	pthread_mutex_lock(&lock);
	late = *place;
	pthread_mutex_unlock(&lock);
	return false;
}

/* -1 with errno. What is unsent when the socket is closed is gone, and not sent by the kernel once
 * a cut heals: Redis would do it after what newer connections have asked for since. */
static int connect_to(const struct sockaddr *address, socklen_t address_size, int wait_ms)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int error = 0, one = 1;
	socklen_t size = sizeof(error);
	struct pollfd polled = {.events = POLLOUT};

	polled.fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (polled.fd < 0)
		return -1;
	setsockopt(polled.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(polled.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(polled.fd, address, address_size) != 0)
		error = errno;
	if (error == EINPROGRESS && poll(&polled, 1, wait_ms) != 1)
		error = ETIME;
	else if (error == EINPROGRESS)
		getsockopt(polled.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error == 0)
		return polled.fd;
	close(polled.fd);
	errno = error;
	return -1;
}

/* The address that answers is then the only one. */
static int connect_to_any(struct place *place)
{
	int wait_ms = DIAL_MS / place->count;

	for (int i = 0; i < place->count; i++) {
		int fd = connect_to((const struct sockaddr *)&place->addresses[i].at,
				    place->addresses[i].size, wait_ms);

		if (fd < 0)
			continue;
		place->addresses[0] = place->addresses[i];
		place->count = 1;
		return fd;
	}
	return -1;
}

static void *run(void *argument)
{
	struct dial *dial = argument;
	bool is_path = dial->path[0] != '\0', goes_on = is_path || find(dial);

	while (goes_on && dial->connected < dial->count) {
		int fd = is_path ? unix_connect(dial->path, SOCK_STREAM)
				 : connect_to_any(&dial->place);

		goes_on = fd >= 0;
		if (goes_on)
			dial->sockets[dial->connected++] = fd;
		else
			snprintf(dial->why, DIAL_WHY_SIZE, "cannot connect: %s",
				 errno == ETIME ? "no answer in time" : uv_strerror(-errno));
	}
	pthread_mutex_lock(&lock);
	if (!dial->is_given_up)
		uv_async_send(&dial->answered);
	pthread_mutex_unlock(&lock);
	release(dial);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void on_answered(uv_async_t *async)
{
	struct dial *dial = async->data;

	uv_timer_stop(&dial->timer);
	if (!dial->why[0])
		dial->connected = 0; /* they are the callee's */
	dial->done(dial->context, dial->why[0] ? NULL : dial->sockets, dial->why);
}

static void on_due(uv_timer_t *timer)
{
	struct dial *dial = timer->data;

	dial->done(dial->context, NULL, "cannot connect: no answer in time");
}

struct dial *dial_start(struct uv_loop_s *loop, const struct redis_url *url, size_t count,
			dial_done *done, void *context)
{
	struct dial *dial = xcalloc(1, sizeof(*dial));
	pthread_attr_t detached;
	pthread_t thread;

	*dial = (struct dial){.done = done, .context = context, .count = count, .owners = 2};
	memcpy(dial->place.host, url->host, sizeof(dial->place.host));
	memcpy(dial->path, url->path, sizeof(dial->path));
	snprintf(dial->place.port, sizeof(dial->place.port), "%u", url->port);
	uv_async_init(loop, &dial->answered, on_answered);
	uv_timer_init(loop, &dial->timer);
	dial->answered.data = dial->timer.data = dial;
	uv_timer_start(&dial->timer, on_due, DIAL_MS, 0);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (atomic_fetch_add(&running, 1) >= DIALS_MAX ||
	    pthread_create(&thread, &detached, run, dial) != 0) {
		atomic_fetch_sub(&running, 1);
		snprintf(dial->why, DIAL_WHY_SIZE, "too many attempts to connect have not ended");
		dial->owners = 1;
		uv_async_send(&dial->answered);
	}
	pthread_attr_destroy(&detached);
	return dial;
}

static void on_closed(uv_handle_t *handle)
{
	struct dial *dial = handle->data;

	if (--dial->handles == 0)
		release(dial);
}

void dial_close(struct dial *dial)
{
	if (!dial)
		return;
	pthread_mutex_lock(&lock);
	dial->is_given_up = true;
	pthread_mutex_unlock(&lock);
	dial->handles = 2;
	uv_close((uv_handle_t *)&dial->answered, on_closed);
	uv_close((uv_handle_t *)&dial->timer, on_closed);
}
