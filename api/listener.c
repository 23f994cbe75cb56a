/*
 * Accepting connections on descriptor 0, see listener.h. State: an epoll instance that watches
 * descriptor 0 and a signalfd. Blocks in listener_accept only.
 *
 * The ending signals stay blocked for good, so that they interrupt nothing (libfcgi takes an
 * interrupted read for the end of the connection), and are seen as a descriptor that is readable.
 *
 * accept(2) hands connections to its waiters in turn: with four processes, each would get every
 * fourth publish, with cold caches, and with a SQLite cache that the other three have made stale.
 * EPOLLEXCLUSIVE wakes the one that waited first, which is nearly always the same.
 * When publishes come faster than they are committed it wakes the others too, and they would hand
 * the write lock from one to the next: whoever had to wait for it stands back.
 */
#include "api/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { FULL_WAIT_MS = 100 };

static int epoll_fd = -1, signal_fd = -1;
static int taken_since_told; /* to end */
static sigset_t ending_signals;

void listener_hold_signals(void)
{
	static const int ending[] = {SIGTERM, SIGINT, SIGUSR1};

	sigemptyset(&ending_signals);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&ending_signals, ending[i]);
	sigprocmask(SIG_BLOCK, &ending_signals, NULL);
}

static bool watch(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool listener_is_there(void)
{
	int is_listening = 0;
	socklen_t len = sizeof(is_listening);

	return getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) == 0 &&
	       is_listening;
}

bool listener_start(void)
{
	const int on = 1;

	if (!listener_is_there()) {
		errno = 0;
		return false;
	}
	listener_hold_signals();
	signal(SIGPIPE, SIG_IGN); /* when a caller has gone away, write(2) says so */
	/* What is accepted inherits it. On a UNIX socket it fails. */
	setsockopt(STDIN_FILENO, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The socket may be shared, but with processes like this one only: another may have been
	 * faster. */
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	signal_fd = signalfd(-1, &ending_signals, SFD_CLOEXEC);
	return epoll_fd >= 0 && signal_fd >= 0 && watch(signal_fd, EPOLLIN) &&
	       (watch(STDIN_FILENO, EPOLLIN | EPOLLEXCLUSIVE) ||
		watch(STDIN_FILENO, EPOLLIN)); /* Linux before 4.5 */
}

int listener_accept(void)
{
	const struct timeval timeout = {.tv_sec = LISTENER_PEER_TIMEOUT_S};
	struct epoll_event events[2];

	for (;;) {
		int count = epoll_wait(epoll_fd, events, 2, LISTENER_IDLE_MS);

		errno = 0;
		bool is_told = false;
		for (int i = 0; i < count; i++)
			is_told |= events[i].data.fd == signal_fd;
		if (is_told && taken_since_told++ == LISTENER_LAST)
			return -1;
		if (count == 0)
			return LISTENER_IDLE;

		int fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
			return fd;
		}
		if (is_told && errno == EAGAIN) {
			errno = 0;
			return -1;
		}
		/* Other errors are those of one connection, or of this moment. */
		if (errno == EBADF || errno == EFAULT || errno == EINVAL || errno == ENOTSOCK ||
		    errno == EOPNOTSUPP)
			return -1;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			poll(NULL, 0, FULL_WAIT_MS);
	}
}

bool listener_is_quiet(int for_ms)
{
	struct epoll_event events[2];

	return epoll_wait(epoll_fd, events, 2, for_ms) == 0;
}

/* The lock, of the process, is on the socket itself. Whoever gets it keeps it. */
void listener_stand_back(void)
{
	struct flock first = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct pollfd told_to_end = {.fd = signal_fd, .events = POLLIN};

	if (fcntl(STDIN_FILENO, F_SETLK, &first) != 0 && (errno == EAGAIN || errno == EACCES))
		poll(&told_to_end, 1, LISTENER_STAND_BACK_MS);
}
