/*
 * Listening and accepting, see listener.h. State: the socket, its poll handle, and a timer for the
 * pause. Never blocks. A connection that fails while it is accepted is nobody's fault: the next one
 * is taken.
 */
#include "gateway/door/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"
#include "shared/base/unix_socket.h"

#define UNIX_PREFIX "unix:"

enum {
	BACKLOG = 4096, /* the most that wait; the kernel cuts it to net.core.somaxconn */
	BATCH = 64, /* connections in a turn of the loop */
	PAUSE_MS = 100
};

union address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
	struct sockaddr_storage storage;
};

static void describe(const struct config *config, const union address *address,
		     char out[LISTEN_ADDRESS_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (address->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &address->ipv6.sin6_addr, host, sizeof(host));
		snprintf(out, LISTEN_ADDRESS_SIZE, "[%s]:%d", host, ntohs(address->ipv6.sin6_port));
	} else if (address->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &address->ipv4.sin_addr, host, sizeof(host));
		snprintf(out, LISTEN_ADDRESS_SIZE, "%s:%d", host, ntohs(address->ipv4.sin_port));
	} else {
		snprintf(out, LISTEN_ADDRESS_SIZE, "%s", config->ws_bind);
	}
}

/* Returns -1, with errno as it was. */
static int give_up(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

static int bind_to(const union address *address, bool is_shared)
{
	const int on = 1, off = 0;
	int family = address->any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (is_shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (family == AF_INET6) /* [::] takes IPv4 too */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &address->any,
		 family == AF_INET6 ? sizeof(address->ipv6) : sizeof(address->ipv4)) == 0)
		return fd;
	return give_up(fd);
}

static int listen_tcp(const union address *address, bool is_first)
{
	/* Binding without SO_REUSEPORT shows whether anybody listens there, which binding with it
	 * would not. */
	int probe_fd = is_first ? bind_to(address, false) : -1;

	if (is_first && probe_fd < 0)
		return -1;
	if (is_first)
		close(probe_fd);
	int fd = bind_to(address, true);
	return fd < 0 || listen(fd, BACKLOG) == 0 ? fd : give_up(fd);
}

const char *listen_socket_path(const struct config *config)
{
	const size_t len = sizeof(UNIX_PREFIX) - 1;

	return strncmp(config->ws_bind, UNIX_PREFIX, len) == 0 ? config->ws_bind + len : NULL;
}

int listen_socket_open(const struct config *config, bool is_first, char out[LISTEN_ADDRESS_SIZE])
{
	const char *path = listen_socket_path(config);
	in_port_t port = htons((uint16_t)config->ws_port);
	union address address = {
		.ipv6 = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_any}};
	const union address ipv4_any = {.ipv4 = {.sin_family = AF_INET, .sin_port = port}};

	if (path) {
		snprintf(out, LISTEN_ADDRESS_SIZE, "%s", config->ws_bind);
		return unix_stream_listen(path, (mode_t)config->ws_socket_mode, BACKLOG);
	}
	/* The configuration has been checked: it is "" or an address. */
	if (*config->ws_bind &&
	    inet_pton(AF_INET6, config->ws_bind, &address.ipv6.sin6_addr) != 1) {
		address = ipv4_any;
		inet_pton(AF_INET, config->ws_bind, &address.ipv4.sin_addr);
	}
	int fd = listen_tcp(&address, is_first);
	if (fd < 0 && errno == EAFNOSUPPORT && !*config->ws_bind) {
		address = ipv4_any;
		fd = listen_tcp(&address, is_first);
	}
	int saved = errno;
	describe(config, &address, out);
	errno = saved;
	return fd;
}

struct listener {
	uv_poll_t poll;
	uv_timer_t pause;
	int open_handles;
	int fd;
	const char *path; /* of a UNIX socket, else NULL */
	struct log_repeat shortage; /* of descriptors or memory */
	listener_accepted *accepted;
	void *context;
	char address[LISTEN_ADDRESS_SIZE];
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

/* Whoever is waiting stays in the kernel's queue meanwhile. */
static void pause_accepting(struct listener *listener, int error)
{
	log_repeat_event(&listener->shortage, clock_monotonic_ms(),
			 log_text("why", strerror(error)));
	uv_poll_stop(&listener->poll);
	uv_timer_start(&listener->pause, resume, PAUSE_MS, 0);
}

enum accepted { ACCEPTED, NOBODY, SHORT };

static enum accepted accept_one(struct listener *listener)
{
	for (;;) {
		struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
		socklen_t len = sizeof(peer);
		int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			listener->accepted(listener->context, fd, (struct sockaddr *)&peer);
			return ACCEPTED;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			return SHORT;
		if (errno == EAGAIN || errno == EBADF || errno == EINVAL)
			return NOBODY;
		/* otherwise it had gone before it got here */
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	enum accepted result = ACCEPTED;

	(void)status;
	(void)events;
	for (int i = 0; i < BATCH && result == ACCEPTED; i++)
		result = accept_one(listener);
	if (result == SHORT)
		pause_accepting(listener, errno);
	else
		log_repeat_ends(&listener->shortage, clock_monotonic_ms(),
				"connections are accepted again");
}

static void forget_handle(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	if (--listener->open_handles == 0)
		free(listener);
}

struct listener *listener_open(const struct config *config, int fd, struct uv_loop_s *loop,
			       listener_accepted *accepted, void *context)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));
	union address bound = {.any.sa_family = AF_UNSPEC};
	socklen_t len = sizeof(bound);
	const int on = 1;

	listener->fd = fd;
	listener->path = listen_socket_path(config);
	getsockname(fd, &bound.any, &len);
	describe(config, &bound, listener->address);
	if (!listener->path) /* accepted sockets inherit it */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	listener->accepted = accepted;
	listener->shortage = (struct log_repeat){.level = LOG_WARN,
						 .message = "cannot accept connections for now"};
	listener->context = context;
	uv_poll_init(loop, &listener->poll, listener->fd);
	uv_timer_init(loop, &listener->pause);
	listener->poll.data = listener->pause.data = listener;
	listener->open_handles = 2;
	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
	return listener;
}

void listener_leave(struct listener *listener)
{
	for (int i = 0; i < BACKLOG && accept_one(listener) == ACCEPTED; i++)
		;
	uv_poll_stop(&listener->poll);
	close(listener->fd);
	uv_close((uv_handle_t *)&listener->poll, forget_handle);
	uv_close((uv_handle_t *)&listener->pause, forget_handle);
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener->path)
		unlink(listener->path);
	else
		listen(listener->fd, 0); /* nobody new joins the queue */
	listener_leave(listener);
}

int listener_fd(const struct listener *listener)
{
	return listener->fd;
}

const char *listener_address(const struct listener *listener)
{
	return listener->address;
}
