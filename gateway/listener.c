/*
 * Listening and accepting, see listener.h. State: the socket, its poll handle, and a timer for the
 * pause. Never blocks. A connection that fails while it is accepted is nobody's fault: the next one
 * is taken.
 */
#include "gateway/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

#include "shared/alloc.h"
#include "shared/clock.h"
#include "shared/log_repeat.h"
#include "shared/unix_socket.h"

#define UNIX_PREFIX "unix:"

enum {
	BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
	BATCH = 64, /* connections a turn of the loop */
	PAUSE_MS = 100
};

struct listener {
	uv_poll_t poll;
	uv_timer_t pause;
	int open_handles;
	int fd;
	bool is_unix;
	struct log_repeat shortage; /* of descriptors or memory */
	listener_accepted *accepted;
	void *context;
	char address[LISTENER_ADDRESS_SIZE];
};

static const char *unix_path(const struct listener *listener)
{
	return listener->address + sizeof(UNIX_PREFIX) - 1;
}

static int bind_and_listen(int family, const struct sockaddr *address, socklen_t len)
{
	const int on = 1, off = 0;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6) /* [::] takes IPv4 too */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int listen_ipv4(struct in_addr host, in_port_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port, .sin_addr = host};

	return bind_and_listen(AF_INET, (struct sockaddr *)&address, sizeof(address));
}

static int listen_ipv6(struct in6_addr host, in_port_t port)
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = host};

	return bind_and_listen(AF_INET6, (struct sockaddr *)&address, sizeof(address));
}

/* The configuration has been checked: `host` is "" or an address. */
static int listen_tcp(struct listener *listener, const char *host, int64_t port)
{
	struct in6_addr ipv6 = in6addr_any;
	struct in_addr ipv4 = {.s_addr = htonl(INADDR_ANY)};
	in_port_t number = htons((uint16_t)port);
	bool is_any = host[0] == '\0';
	int fd = -1;

	if (is_any || inet_pton(AF_INET6, host, &ipv6) == 1) {
		fd = listen_ipv6(ipv6, number);
		snprintf(listener->address, sizeof(listener->address), "[%s]:%lld",
			 is_any ? "::" : host, (long long)port);
		if (fd >= 0 || !is_any || errno != EAFNOSUPPORT)
			return fd;
	} else if (inet_pton(AF_INET, host, &ipv4) != 1) {
		errno = EINVAL;
		return -1;
	}
	snprintf(listener->address, sizeof(listener->address), "%s:%lld", is_any ? "0.0.0.0" : host,
		 (long long)port);
	return listen_ipv4(ipv4, number);
}

/* For people, of a socket that somebody else has bound. */
static void describe(struct listener *listener)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&address;
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&address;
	socklen_t len = sizeof(address);
	char host[INET6_ADDRSTRLEN] = "";

	getsockname(listener->fd, (struct sockaddr *)&address, &len);
	if (address.ss_family == AF_INET6)
		snprintf(listener->address, sizeof(listener->address), "[%s]:%d",
			 inet_ntop(AF_INET6, &ipv6->sin6_addr, host, sizeof(host)),
			 ntohs(ipv6->sin6_port));
	else
		snprintf(listener->address, sizeof(listener->address), "%s:%d",
			 inet_ntop(AF_INET, &ipv4->sin_addr, host, sizeof(host)),
			 ntohs(ipv4->sin_port));
}

static bool start_listening(struct listener *listener, const struct config *config,
			    int inherited_fd)
{
	const size_t prefix_len = sizeof(UNIX_PREFIX) - 1;

	listener->is_unix = strncmp(config->ws_bind, UNIX_PREFIX, prefix_len) == 0;
	if (listener->is_unix)
		snprintf(listener->address, sizeof(listener->address), "%s", config->ws_bind);
	if (inherited_fd >= 0) {
		listener->fd = inherited_fd;
		if (!listener->is_unix)
			describe(listener);
	} else if (listener->is_unix) {
		listener->fd = unix_stream_listen(config->ws_bind + prefix_len,
						  (mode_t)config->ws_socket_mode, BACKLOG);
	} else {
		listener->fd = listen_tcp(listener, config->ws_bind, config->ws_port);
	}
	return listener->fd >= 0;
}

static void hand_on(struct listener *listener, int fd, const struct sockaddr *peer)
{
	const int on = 1;

	if (!listener->is_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	listener->accepted(listener->context, fd, peer);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

/* Whoever waits stays in the kernel's queue meanwhile. */
static void pause_accepting(struct listener *listener, int error)
{
	log_repeat_event(&listener->shortage, clock_monotonic_ms(),
			 log_text("why", strerror(error)));
	uv_poll_stop(&listener->poll);
	uv_timer_start(&listener->pause, resume, PAUSE_MS, 0);
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
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
			hand_on(listener, fd, (struct sockaddr *)&peer);
			return ACCEPTED;
		}
		if (is_shortage(errno))
			return SHORT;
		if (errno == EAGAIN || errno == EBADF || errno == EINVAL)
			return NOBODY;
		/* else it was gone before it was here */
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
	else if (listener->shortage.is_on)
		log_repeat_ends(&listener->shortage, clock_monotonic_ms(),
				"connections are accepted again");
}

static void forget_handle(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	if (--listener->open_handles == 0)
		free(listener);
}

struct listener *listener_open(const struct config *config, int inherited_fd,
			       struct uv_loop_s *loop, listener_accepted *accepted, void *context,
			       char why[LISTENER_WHY_SIZE])
{
	struct listener *listener = xcalloc(1, sizeof(*listener));

	listener->accepted = accepted;
	listener->shortage = (struct log_repeat){.level = LOG_WARN,
						 .message = "cannot accept connections for now"};
	listener->context = context;
	if (!start_listening(listener, config, inherited_fd)) {
		snprintf(why, LISTENER_WHY_SIZE, "%s: %s", listener->address, strerror(errno));
		free(listener);
		return NULL;
	}
	uv_poll_init(loop, &listener->poll, listener->fd);
	uv_timer_init(loop, &listener->pause);
	listener->poll.data = listener->pause.data = listener;
	listener->open_handles = 2;
	uv_poll_start(&listener->poll, UV_READABLE, on_readable);
	return listener;
}

static void let_go(struct listener *listener)
{
	uv_poll_stop(&listener->poll);
	close(listener->fd);
	uv_close((uv_handle_t *)&listener->poll, forget_handle);
	uv_close((uv_handle_t *)&listener->pause, forget_handle);
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener->is_unix)
		unlink(unix_path(listener));
	else
		listen(listener->fd, 0); /* nobody new joins the queue */
	for (int i = 0; i < BACKLOG && accept_one(listener) == ACCEPTED; i++)
		;
	let_go(listener);
}

void listener_hand_over(struct listener *listener)
{
	let_go(listener);
}

int listener_fd(const struct listener *listener)
{
	return listener->fd;
}

const char *listener_address(const struct listener *listener)
{
	return listener->address;
}
