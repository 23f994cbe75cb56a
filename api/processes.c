/*
 * The parent of several processes, see processes.h. State: the socket, as descriptor 0, its file
 * and a lock beside it, and for each process how its starts have gone. Waits for signals and for
 * the next start only.
 *
 *	SIGTERM, SIGINT	nobody new can connect; whoever has is served, then everything ends
 *	SIGUSR2		the program on disk takes this one's place, with its pid and its socket
 *	SIGHUP		nothing: the configuration is read again without it
 */
#include "api/processes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/listener.h"
#include "shared/base/clock.h"
#include "shared/base/held_file.h"
#include "shared/base/service_manager.h"
#include "shared/base/signals.h"
#include "shared/base/slice.h"
#include "shared/base/tcp_socket.h"
#include "shared/base/unix_socket.h"
#include "shared/base/version.h"

enum {
	BACKLOG = 4096, /* the most that wait; the kernel cuts it to net.core.somaxconn */
	FIRST_WAIT_MS = 100, /* before a process is started again; then twice as long, and so on */
	MOST_FAILURES = 6, /* in a row; it waits no longer */
	STEADY_MS = 1000, /* one that has lived so long had not failed to start */
	LOOK_MS = 1000,
	SYSTEMD_FD = 3
};

struct process {
	pid_t pid; /* 0: it does not run */
	int failures; /* starts in a row that came to nothing */
	int64_t start_ms; /* when it was started, or is to be */
};

struct parent {
	const char *where, *path; /* of --listen; the path of a UNIX socket; else NULL */
	char place[SOCKET_PLACE_SIZE]; /* where descriptor 0 listens, as --listen has it */
	mode_t mode;
	char **argv;
	pid_t pid;
	int signals_fd, lock_fd;
	struct held_file socket;
	int64_t looked_ms;
	pid_t checker; /* looks whether the program on disk is good; 0: none */
	bool is_ready, is_ending;
	size_t count;
	struct process processes[PROCESSES_MOST];
};

bool processes_are_wanted(const struct listen_options *options)
{
	const char *pid = getenv("LISTEN_PID");

	return options->listen || options->processes || (pid && strtoll(pid, NULL, 10) == getpid());
}

static int cannot_listen(const char *where, const char *why, int code)
{
	log_event(LOG_ERROR, "cannot listen", log_text("address", where), log_text("why", why));
	return code;
}

/* At "ADDRESS:PORT" or "[ADDRESS]:PORT", both numeric. */
static int listen_tcp(const char *where)
{
	union socket_address address = {.any.sa_family = AF_INET};
	const char *colon = strrchr(where, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len = colon ? (size_t)(colon - where) : sizeof(host);
	unsigned port;

	errno = EINVAL;
	if (len >= sizeof(host) || !slice_number(slice_of(colon + 1), UINT16_MAX, &port))
		return -1;
	memcpy(host, where, len);
	host[len] = '\0';
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		address.ipv6.sin6_family = AF_INET6;
		address.ipv6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host + 1, &address.ipv6.sin6_addr) != 1)
			return -1;
	} else {
		address.ipv4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &address.ipv4.sin_addr) != 1)
			return -1;
	}
	return tcp_bind(&address, false, BACKLOG);
}

/* So that of two that start at once neither takes the other's socket for a dead one. Held by all
 * processes, for as long as one of them may accept. */
static bool lock_path(struct parent *parent)
{
	char path[UNIX_SOCKET_PATH_MAX + sizeof(".lock")];

	snprintf(path, sizeof(path), "%.*s.lock", UNIX_SOCKET_PATH_MAX, parent->path);
	parent->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return parent->lock_fd >= 0 && flock(parent->lock_fd, LOCK_EX | LOCK_NB) == 0;
}

/* The listening socket becomes descriptor 0, wherever it comes from: inherited there, from systemd,
 * or made here. Returns an exit code. */
static int open_socket(struct parent *parent)
{
	const char *given = getenv("LISTEN_FDS");
	int fd = -1;

	if (given && processes_are_wanted(&(struct listen_options){0})) {
		if (strcmp(given, "1") != 0)
			return cannot_listen("LISTEN_FDS", "there must be one socket", EXIT_USAGE);
		fd = SYSTEMD_FD;
	} else if (listener_is_there()) {
		socket_place_of(STDIN_FILENO, parent->place);
		return !parent->path || strcmp(parent->place, parent->where) == 0
			       ? EXIT_SUCCESS
			       : cannot_listen(parent->where, "descriptor 0 listens elsewhere",
					       EXIT_USAGE);
	} else if (!parent->where) {
		return cannot_listen("descriptor 0",
				     "not a listening socket, and there is no --listen",
				     EXIT_USAGE);
	} else if (parent->path) {
		if (lock_path(parent))
			fd = unix_stream_listen(parent->path, parent->mode, BACKLOG);
		if (fd < 0 && (errno == EADDRINUSE || errno == EWOULDBLOCK))
			return cannot_listen(parent->where, "another process listens there",
					     EXIT_TEMPORARY);
	} else {
		fd = listen_tcp(parent->where);
		if (fd < 0 && errno == EINVAL)
			return cannot_listen(parent->where, "must be unix:PATH or ADDRESS:PORT",
					     EXIT_USAGE);
	}
	if (fd < 0)
		return cannot_listen(parent->where, strerror(errno), EXIT_FAILURE);
	dup2(fd, STDIN_FILENO);
	close(fd);
	socket_place_of(STDIN_FILENO, parent->place);
	unsetenv("LISTEN_FDS"); /* LISTEN_PID tells what comes after SIGUSR2 that it is wanted */
	return listener_is_there()
		       ? EXIT_SUCCESS
		       : cannot_listen("LISTEN_FDS", "not a listening socket", EXIT_USAGE);
}

/* True when there are any. */
static bool signal_processes(const struct parent *parent, int number)
{
	bool is_any = false;

	for (size_t i = 0; i < parent->count; i++)
		if (parent->processes[i].pid > 0)
			is_any |= kill(parent->processes[i].pid, number) == 0;
	return is_any;
}

/* The socket's file goes first: whoever comes then is refused instead of waiting for nobody. */
static void begin_to_end(struct parent *parent)
{
	if (parent->socket.path && !parent->is_ending &&
	    held_file_look(&parent->socket) == HELD_FILE_IN_PLACE)
		unlink(parent->socket.path);
	parent->is_ending = true;
	signal_processes(parent, SIGTERM);
}

/* When nobody can reach the socket any more, other processes go on with a new one. */
static void look_after_socket(struct parent *parent, int64_t now_ms)
{
	if (!parent->socket.path || parent->is_ending || now_ms - parent->looked_ms < LOOK_MS)
		return;
	parent->looked_ms = now_ms;
	enum held_file_state state = held_file_look(&parent->socket);
	held_file_note(&parent->socket, state);
	if (state == HELD_FILE_IN_PLACE)
		return;
	int fd = unix_stream_listen(parent->path, parent->mode, BACKLOG);
	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	close(fd);
	held_file_take(&parent->socket, parent->path, "--listen", parent->mode);
	held_file_note(&parent->socket, HELD_FILE_IN_PLACE);
	signal_processes(parent, SIGTERM);
}

/* A faulty program or configuration on disk must not take the place of what works. */
static void check_program(struct parent *parent)
{
	if (parent->is_ending || parent->checker > 0)
		return;
	parent->checker = fork();
	if (parent->checker != 0)
		return;
	static char option[] = "--check-config";
	size_t count = 0;
	while (parent->argv[count])
		count++;
	char **argv = calloc(count + 2, sizeof(*argv));
	if (argv) {
		memcpy(argv, parent->argv, count * sizeof(*argv));
		argv[count] = option;
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
		execvp(argv[0], argv);
	}
	_exit(EXIT_FAILURE);
}

/* Nobody is refused: those who come meanwhile wait at the socket. What is started here now knows
 * nothing of the old processes, which end by themselves. */
static void replace_program(struct parent *parent)
{
	signal_processes(parent, SIGTERM);
	if (parent->lock_fd >= 0)
		fcntl(parent->lock_fd, F_SETFD, 0);
	execvp(parent->argv[0], parent->argv);
	log_event(LOG_ERROR, "cannot start the program that is on disk",
		  log_text("why", strerror(errno)));
}

static void reap(struct parent *parent)
{
	int64_t now_ms = clock_monotonic_ms();
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == parent->checker) {
			parent->checker = 0;
			if (status == 0 && !parent->is_ending)
				replace_program(parent);
			else if (status != 0)
				log_event(LOG_ERROR, "the program or configuration on disk is not "
						     "good, the old one stays");
		}
		for (size_t i = 0; i < parent->count; i++) {
			struct process *process = &parent->processes[i];

			if (process->pid != pid)
				continue;
			child_log(pid, status, LOG_WARN, "a process has ended");
			process->pid = 0;
			bool is_steady = now_ms - process->start_ms >= STEADY_MS;
			if (is_steady)
				process->failures = 0;
			process->start_ms =
				now_ms + (is_steady ? 0 : FIRST_WAIT_MS << process->failures);
			process->failures += !is_steady && process->failures < MOST_FAILURES;
		}
	}
}

/* In the fork. It ends when its parent has ended, for then nobody would start it again. */
static int become_process(struct parent *parent)
{
	close(parent->signals_fd);
	held_file_release(&parent->socket);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent->pid)
		raise(SIGTERM);
	return PROCESSES_CHILD;
}

/* Starts the processes that are due. Returns for how many ms there is nothing to do; -1 in a fork.
 */
static int start_processes(struct parent *parent)
{
	int64_t now_ms = clock_monotonic_ms(), wait_ms = LOOK_MS;

	for (size_t i = 0; i < parent->count && !parent->is_ending; i++) {
		struct process *process = &parent->processes[i];

		if (process->pid == 0 && process->start_ms <= now_ms) {
			process->start_ms = now_ms;
			process->pid = fork();
			if (process->pid == 0)
				return -1;
			if (process->pid < 0) {
				log_event(LOG_ERROR, "cannot start a process",
					  log_text("why", strerror(errno)));
				process->pid = 0;
				process->start_ms = now_ms + LOOK_MS;
			}
		}
		if (process->pid == 0 && process->start_ms - now_ms < wait_ms)
			wait_ms = process->start_ms - now_ms;
	}
	return (int)wait_ms;
}

static void take_signals(struct parent *parent)
{
	int number;

	while ((number = signals_next(parent->signals_fd)) != 0) {
		if (number == SIGTERM || number == SIGINT)
			begin_to_end(parent);
		else if (number == SIGUSR2)
			check_program(parent);
	}
	reap(parent); /* several children may have sent one signal */
}

static bool read_options(struct parent *parent, const struct listen_options *options)
{
	const char *processes = options->processes ? options->processes : "4", *end = "";
	unsigned count = 0;

	if (options->socket_mode)
		parent->mode = (mode_t)strtoul(options->socket_mode, (char **)&end, 8);
	if (!slice_number(slice_of(processes), PROCESSES_MOST, &count) || count == 0 ||
	    *end != '\0' || parent->mode > 0777)
		return false;
	parent->count = count;
	parent->where = options->listen;
	if (parent->where &&
	    strncmp(parent->where, SOCKET_UNIX_PREFIX, strlen(SOCKET_UNIX_PREFIX)) == 0)
		parent->path = parent->where + strlen(SOCKET_UNIX_PREFIX);
	return true;
}

int processes_run(const struct listen_options *options, char **argv)
{
	static struct parent parent = {.mode = 0660, .lock_fd = -1};
	struct pollfd signals = {.events = POLLIN};
	int code, wait_ms;

	if (!read_options(&parent, options)) {
		fprintf(stderr, "--processes is 1 to %d, --socket-mode 0 to 0777\n",
			PROCESSES_MOST);
		return EXIT_USAGE;
	}
	parent.argv = argv;
	parent.pid = getpid();
	parent.signals_fd = signals.fd = signals_open();
	code = open_socket(&parent);
	if (code != EXIT_SUCCESS)
		return code;
	if (parent.path)
		held_file_take(&parent.socket, parent.path, "--listen", parent.mode);
	log_event(LOG_INFO, "listening", log_text("address", parent.place),
		  log_number("pid", parent.pid), log_number("processes", (int64_t)parent.count),
		  log_text("version", WORKER_VERSION));
	while (!parent.is_ending || signal_processes(&parent, 0)) {
		wait_ms = start_processes(&parent);
		if (wait_ms < 0)
			return become_process(&parent);
		if (!parent.is_ready)
			service_manager_ready();
		parent.is_ready = true;
		poll(&signals, 1, wait_ms);
		take_signals(&parent);
		look_after_socket(&parent, clock_monotonic_ms());
	}
	held_file_release(&parent.socket);
	log_event(LOG_INFO, "ended", log_number("pid", parent.pid));
	return EXIT_SUCCESS;
}
