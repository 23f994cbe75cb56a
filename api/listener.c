/*
 * Accepting connections on descriptor 0, see listener.h. State: the flag that a signal sets, and a
 * spare descriptor for the handler. Blocks in listener_accept only.
 *
 * Ending without a race: the handler puts /dev/null in the place of descriptor 0. A signal that
 * comes between the look at the flag and accept(2) so makes accept fail instead of being forgotten.
 * libfcgi takes an interrupted read for the end of the connection, so the signals are let in around
 * accept only.
 */
#include "api/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { FULL_WAIT_MS = 100 };

static volatile sig_atomic_t asked_to_end;
static int spare_fd = -1;
static bool is_tcp;
static sigset_t ending_signals;

static void end(int signal_number)
{
	int saved = errno;

	(void)signal_number;
	asked_to_end = 1;
	dup2(spare_fd, STDIN_FILENO);
	errno = saved;
}

static const int ending[] = {SIGTERM, SIGINT, SIGUSR1};

void listener_hold_signals(void)
{
	sigemptyset(&ending_signals);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(&ending_signals, ending[i]);
	sigprocmask(SIG_BLOCK, &ending_signals, NULL);
}

static void take_signals(void)
{
	struct sigaction action = {.sa_handler = end};

	listener_hold_signals();
	action.sa_mask = ending_signals;
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaction(ending[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* a caller that went away is an error of write(2) */
}

bool listener_start(void)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	const struct timeval idle = {.tv_sec = LISTENER_IDLE_MS / 1000};
	int listening = 0;
	socklen_t listening_len = sizeof(listening);

	if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) != 0 ||
	    !listening)
		return false;
	getsockname(STDIN_FILENO, (struct sockaddr *)&address, &len);
	is_tcp = address.ss_family == AF_INET || address.ss_family == AF_INET6;
	/* It bounds accept(2). The socket is shared, but nobody else accepts on it. */
	setsockopt(STDIN_FILENO, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));

	/* Spawners may close 1 and 2: fill the holes, so that no database file gets their place. */
	do
		spare_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (spare_fd >= 0 && spare_fd <= STDERR_FILENO);
	if (spare_fd < 0)
		return false;
	take_signals();
	return true;
}

static void set_options(int fd)
{
	const struct timeval timeout = {.tv_sec = LISTENER_PEER_TIMEOUT_S};
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (is_tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Nobody has come. Whoever made the socket may have made it non-blocking: then it is waited for
 * here. */
static bool is_idle(void)
{
	struct pollfd waiting = {.fd = STDIN_FILENO, .events = POLLIN};

	if (!(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK))
		return true;
	return poll(&waiting, 1, LISTENER_IDLE_MS) == 0;
}

/* What accept(2) says of one connection, or of this moment, and not of the listening socket. */
static bool passes(int error)
{
	switch (error) {
	case EBADF:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		poll(NULL, 0, FULL_WAIT_MS);
		return true;
	default:
		return true;
	}
}

int listener_accept(void)
{
	bool idle = false;
	int fd = -1;

	errno = 0;
	sigprocmask(SIG_UNBLOCK, &ending_signals, NULL);
	while (!asked_to_end) {
		fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == EAGAIN)
			idle = is_idle();
		if (fd >= 0 || idle || !passes(errno))
			break;
	}
	int error = asked_to_end ? 0 : errno;
	sigprocmask(SIG_BLOCK, &ending_signals, NULL);
	if (fd >= 0)
		set_options(fd);
	else
		errno = error;
	return idle && !asked_to_end ? LISTENER_IDLE : fd;
}
