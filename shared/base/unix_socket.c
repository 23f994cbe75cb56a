/*
 * UNIX sockets, see unix_socket.h. No state; never blocks. Failures are errno.
 */
#include "shared/base/unix_socket.h"

#include <errno.h>
#include <stdalign.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A socket, and the address that it is to be bound or connected to. */
static int open_socket(const char *path, int type, struct sockaddr_un *address)
{
	size_t len = strlen(path);

	if (len == 0 || len > UNIX_SOCKET_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, path, len + 1);
	return socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int close_keeping_errno(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

/* The mode is set by the umask, not afterwards, so there is no moment at which others could
 * connect. */
static bool bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
	mode_t old_mask = umask(~mode & 0777);
	int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	umask(old_mask);
	return result == 0;
}

int unix_datagram_bind(const char *path)
{
	enum { MOST_TRIES = 100 };
	struct sockaddr_un address;
	int fd = open_socket(path, SOCK_DGRAM, &address);
	bool is_bound = false;

	errno = fd < 0 ? errno : EADDRINUSE;
	for (int i = 0; i < MOST_TRIES && errno == EADDRINUSE && !is_bound; i++)
		is_bound = (unlink(path) == 0 || errno == ENOENT) &&
			   bind_with_mode(fd, &address, 0600); /* else somebody came in between */
	return is_bound ? fd : close_keeping_errno(fd);
}

int unix_connect(const char *path, int type)
{
	struct sockaddr_un address;
	int fd = open_socket(path, type, &address);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return close_keeping_errno(fd);
	return fd;
}

/* True when `path` is free now; otherwise errno says why not. */
static bool remove_stale(const char *path)
{
	struct stat info;

	if (lstat(path, &info) != 0)
		return errno == ENOENT;
	if (!S_ISSOCK(info.st_mode)) {
		errno = ENOTSOCK;
		return false;
	}
	int fd = unix_connect(path, SOCK_STREAM);
	if (fd >= 0 || errno == EAGAIN) { /* EAGAIN: alive, its queue is full */
		if (fd >= 0)
			close(fd);
		errno = EADDRINUSE;
		return false;
	}
	return errno == ECONNREFUSED && unlink(path) == 0;
}

int unix_stream_listen(const char *path, mode_t mode, int backlog)
{
	struct sockaddr_un address;
	int fd = open_socket(path, SOCK_STREAM, &address);

	if (fd < 0 || !remove_stale(path) || !bind_with_mode(fd, &address, mode) ||
	    listen(fd, backlog) != 0)
		return close_keeping_errno(fd);
	return fd;
}

/* A tap, and room for a descriptor with it. */
struct tap {
	struct msghdr message;
	struct iovec byte;
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

static struct msghdr *tap_init(struct tap *tap, char *byte)
{
	tap->byte = (struct iovec){.iov_base = byte, .iov_len = 1};
	tap->message = (struct msghdr){.msg_iov = &tap->byte,
				       .msg_iovlen = 1,
				       .msg_control = tap->control,
				       .msg_controllen = sizeof(tap->control)};
	return &tap->message;
}

bool unix_send_fd(int socket_fd, int fd)
{
	char byte = '!';
	struct tap tap = {0};
	struct msghdr *message = tap_init(&tap, &byte);
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket_fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

bool unix_receive_fd(int socket_fd, int *fd)
{
	char byte;
	struct tap tap;
	struct msghdr *message = tap_init(&tap, &byte);

	*fd = -1;
	if (recvmsg(socket_fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return false;
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return true;
}
