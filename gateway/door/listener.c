/*
 * Listening and accepting, see listener.h. State: the socket and its poll handle. Never blocks. A
 * connection that fails while it is accepted is nobody's fault: the next one is taken.
 */
#include "gateway/door/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/upgrade.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"
#include "shared/base/tcp_socket.h"
#include "shared/base/unix_socket.h"

enum {
	BACKLOG = 4096, /* the most that wait; the kernel cuts it to net.core.somaxconn */
	BATCH = 64 /* connections in a turn of the loop */
};

static int listen_tcp(const union socket_address *address, bool is_first)
{
	/* Binding without SO_REUSEPORT shows whether anybody listens there, which binding with it
	 * would not. */
	if (is_first) {
		int probe_fd = tcp_bind(address, false, 0);

		if (probe_fd < 0)
			return -1;
		close(probe_fd);
	}
	return tcp_bind(address, true, BACKLOG);
}

const char *listen_socket_path(const struct config *config)
{
	const size_t len = sizeof(SOCKET_UNIX_PREFIX) - 1;

	return strncmp(config->ws_bind, SOCKET_UNIX_PREFIX, len) == 0 ? config->ws_bind + len
								      : NULL;
}

int listen_socket_open(const struct config *config, bool is_first)
{
	const char *path = listen_socket_path(config);
	const char *host = config->ws_bind; /* "" or an address: it has been checked */
	int port = (int)config->ws_port, fd;
	union socket_address address = {.any.sa_family = AF_UNSPEC};

	if (path) {
		fd = unix_stream_listen(path, (mode_t)config->ws_socket_mode, BACKLOG);
	} else {
		if (uv_ip6_addr(*host ? host : "::", port, &address.ipv6) != 0)
			uv_ip4_addr(host, port, &address.ipv4);
		fd = listen_tcp(&address, is_first);
		if (fd < 0 && errno == EAFNOSUPPORT && !*host) {
			uv_ip4_addr("0.0.0.0", port, &address.ipv4);
			fd = listen_tcp(&address, is_first);
		}
	}
	if (fd < 0) {
		int saved = errno;
		char where[SOCKET_PLACE_SIZE];

		socket_place(&address, where);
		log_event(LOG_ERROR, "cannot listen",
			  log_text("address", path ? config->ws_bind : where),
			  log_text("why", strerror(saved)));
	}
	return fd;
}

void listen_file_take(struct listen_file *file, const struct config *config)
{
	const char *path = listen_socket_path(config);
	char copy[UNIX_SOCKET_PATH_MAX + 1];
	struct stat info;

	if (!path)
		return;
	held_file_take(&file->socket, path, "ws_bind", (mode_t)config->ws_socket_mode);
	snprintf(copy, sizeof(copy), "%s", path);
	path = dirname(copy);
	if (stat(path, &info) == 0)
		file->directory_mode = info.st_mode & 07777;
	held_file_take(&file->directory, path, "the directory of ws_bind",
		       file->directory_mode & 0111);
}

void listen_file_release(struct listen_file *file, bool is_inherited)
{
	if (file->socket.path && !is_inherited &&
	    held_file_look(&file->socket) == HELD_FILE_IN_PLACE)
		unlink(file->socket.path);
	held_file_release(&file->socket);
	held_file_release(&file->directory);
}

int listen_file_look(struct listen_file *file, const struct config *config)
{
	const char *directory = file->directory.path, *path = file->socket.path;
	struct stat info;
	int fd = -1;
	enum held_file_state state;

	if (held_file_look(&file->directory) == HELD_FILE_DELETED && mkdir(directory, 0700) == 0)
		chmod(directory, file->directory_mode);
	state = held_file_look(&file->socket);
	held_file_note(&file->socket, state);
	if (state == HELD_FILE_REPLACED && lstat(path, &info) == 0 && S_ISREG(info.st_mode))
		unlink(path);
	if (state != HELD_FILE_IN_PLACE)
		fd = unix_stream_listen(path, file->socket.mode, BACKLOG);
	if (fd >= 0) {
		listen_file_take(file, config);
		held_file_note(&file->socket, HELD_FILE_IN_PLACE);
	}
	return fd;
}

struct listener {
	uv_poll_t poll;
	int fd;
	struct log_repeat shortage; /* of descriptors or memory */
	struct upgrades *upgrades; /* NULL: it has not served */
	char address[SOCKET_PLACE_SIZE];
};

/* 0, or the errno that says why nobody can be accepted. */
static int accept_one(struct listener *listener)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(peer);
	int fd =
		accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		upgrade_begin(listener->upgrades, fd, (struct sockaddr *)&peer);
	else if (errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		 errno == ENOMEM || errno == EBADF || errno == EINVAL)
		return errno;
	return 0; /* also when it had gone before it got here */
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;
	int64_t now_ms = clock_monotonic_ms();
	int error = 0;

	(void)status;
	(void)events;
	for (int i = 0; i < BATCH && error == 0; i++)
		error = accept_one(listener);
	if (error == 0 || error == EAGAIN) {
		log_repeat_ends(&listener->shortage, now_ms, "connections are accepted again");
		return;
	}
	/* Whoever is waiting stays in the kernel's queue until the next tick. */
	log_repeat_event(&listener->shortage, now_ms, log_text("why", strerror(error)));
	uv_poll_stop(&listener->poll);
}

void listener_on_tick(struct listener *listener)
{
	if (!uv_is_active((uv_handle_t *)&listener->poll))
		uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

struct listener *listener_open(const struct config *config, int fd, struct uv_loop_s *loop)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));
	const int on = 1;

	listener->fd = fd;
	socket_place_of(fd, listener->address);
	if (!listen_socket_path(config)) /* accepted sockets inherit it */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	listener->shortage = (struct log_repeat){.level = LOG_WARN,
						 .message = "cannot accept connections for now"};
	uv_poll_init(loop, &listener->poll, listener->fd);
	listener->poll.data = listener;
	return listener;
}

void listener_start(struct listener *listener, struct upgrades *upgrades)
{
	listener->upgrades = upgrades;
	listener_on_tick(listener);
}

static void accept_rest(struct listener *listener)
{
	for (int i = 0; listener->upgrades && i < BACKLOG && accept_one(listener) == 0; i++)
		;
}

void listener_replace(struct listener *listener, int fd)
{
	if (fd < 0)
		return;
	accept_rest(listener);
	uv_poll_stop(&listener->poll);
	dup3(fd, listener->fd, O_CLOEXEC);
	close(fd);
	listener_on_tick(listener);
}

static void free_listener(uv_handle_t *handle)
{
	free(handle->data);
}

void listener_leave(struct listener *listener)
{
	accept_rest(listener);
	uv_close((uv_handle_t *)&listener->poll, free_listener);
	close(listener->fd);
}

void listener_close(struct listener *listener)
{
	if (!listener)
		return;
	if (listener->upgrades)
		listen(listener->fd, 0); /* nobody new joins the queue */
	listener_leave(listener);
}

const char *listener_address(const struct listener *listener)
{
	return listener->address;
}
