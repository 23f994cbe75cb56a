/*
 * Successors, see successor.h. State: for each its process, a pipe on which it says that it is
 * serving, and the time it has for that. Never blocks. A successor that does not come up changes
 * nothing here.
 *
 * The descriptors have fixed numbers in the successor; an environment variable says how many there
 * are, and where the sockets listen.
 */
#include "gateway/processes/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/log.h"

#define VARIABLE "WAVELOG_WORKER_INHERITS"

enum { SERVICE_FD = 3, READY_FD = 4, LISTEN_FD = 5 };
enum { DESCRIPTORS = LISTEN_FD + SUCCESSOR_MAX_LISTEN };
enum { PATH_SIZE = 4096, TERMS_SIZE = 512 };

struct successor {
	uv_process_t process;
	uv_poll_t poll;
	uv_timer_t limit;
	int open_handles;
	int ready_fd; /* -1: it has said all it will say */
	bool serves, has_ended;
	struct successor_options options;
};

/* True when that path leads to the program that is running. */
static bool is_this_program(const char *path)
{
	struct stat there, here;

	return stat(path, &there) == 0 && stat("/proc/self/exe", &here) == 0 &&
	       there.st_ino == here.st_ino && there.st_dev == here.st_dev;
}

static bool try_path(char path[PATH_SIZE], const char *directory, size_t len, const char *name)
{
	int written =
		snprintf(path, PATH_SIZE, "%.*s%s%s", (int)len, directory, len ? "/" : "", name);

	return written < PATH_SIZE && is_this_program(path);
}

/* The path as a person would write it: where the command was found, not what it resolves to. */
static bool find_program(char path[PATH_SIZE], const char *name, const char *directory)
{
	const char *at = strchr(name, '/') ? NULL : getenv("PATH");
	ssize_t len;

	if (name[0] == '/' && try_path(path, "", 0, name))
		return true;
	if (name[0] != '/' && strchr(name, '/') && directory &&
	    try_path(path, directory, strlen(directory), name))
		return true;
	for (; at; at = strchr(at, ':')) {
		at += *at == ':';
		if (*at == '/' && try_path(path, at, strcspn(at, ":"), name))
			return true;
	}
	len = readlink("/proc/self/exe", path, PATH_SIZE - 1);
	if (len >= 0)
		path[len] = '\0';
	return len >= 0;
}

struct program_start program_start_remember(char **argv)
{
	struct program_start start = {.argv = argv, .directory = get_current_dir_name()};
	char path[PATH_SIZE];

	start.path = xstrdup(find_program(path, argv[0], start.directory) ? path : argv[0]);
	return start;
}

void program_start_clear(struct program_start *start)
{
	free(start->path);
	free(start->directory);
	start->path = start->directory = NULL;
}

/* Writes the number of sockets, and what decides where they listen. */
static void write_terms(const struct config *config, size_t listen_count, char terms[TERMS_SIZE])
{
	snprintf(terms, TERMS_SIZE, "%zu %s %lld", listen_count, config->ws_bind,
		 (long long)config->ws_port);
}

struct inheritance inheritance_take(const struct config *config)
{
	struct inheritance inheritance = {.service_fd = -1, .ready_fd = -1, .wakeup_fd = -1};
	const char *there = getenv(VARIABLE);
	char here[TERMS_SIZE];

	if (!there)
		return inheritance;
	size_t count = strtoul(there, NULL, 10);
	if (count > SUCCESSOR_MAX_LISTEN)
		count = SUCCESSOR_MAX_LISTEN;
	write_terms(config, count, here);
	bool listen_where_we_do = strcmp(here, there) == 0;
	for (int fd = SERVICE_FD; fd < LISTEN_FD + (int)count; fd++) {
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (fd >= LISTEN_FD && listen_where_we_do)
			inheritance.listen_fds[inheritance.listen_count++] = fd;
		else if (fd >= LISTEN_FD)
			close(fd);
	}
	inheritance.service_fd = SERVICE_FD;
	inheritance.ready_fd = READY_FD;
	unsetenv(VARIABLE);
	return inheritance;
}

void inheritance_ready(struct inheritance *inheritance)
{
	char number = (char)inheritance->worker;

	if (inheritance->ready_fd < 0)
		return;
	if (write(inheritance->ready_fd, &number, 1) != 1)
		log_event(LOG_WARN, "the parent process has gone");
	close(inheritance->ready_fd);
	inheritance->ready_fd = -1;
}

static void forget_handle(uv_handle_t *handle)
{
	struct successor *successor = handle->data;

	if (--successor->open_handles == 0)
		free(successor);
}

static void stop_waiting(struct successor *successor)
{
	if (successor->ready_fd < 0)
		return;
	uv_poll_stop(&successor->poll);
	uv_timer_stop(&successor->limit);
	close(successor->ready_fd);
	successor->ready_fd = -1;
}

static void kill_it(struct successor *successor)
{
	if (!successor->has_ended)
		uv_process_kill(&successor->process, SIGKILL);
}

void successor_forget(struct successor *successor)
{
	stop_waiting(successor);
	uv_close((uv_handle_t *)&successor->process, forget_handle);
	uv_close((uv_handle_t *)&successor->poll, forget_handle);
	uv_close((uv_handle_t *)&successor->limit, forget_handle);
}

bool successor_serves(struct successor *successor)
{
	char word;

	if (successor->ready_fd >= 0 && read(successor->ready_fd, &word, 1) == 1) {
		successor->serves = true;
		stop_waiting(successor);
	}
	return successor->serves;
}

void successor_free(struct successor *successor)
{
	if (!successor)
		return;
	if (!successor_serves(successor))
		kill_it(successor);
	successor_forget(successor);
}

/* When it ends, its end of the pipe closes without a word; on_end tells the rest. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct successor *successor = poll->data;

	(void)status;
	(void)events;
	if (successor_serves(successor))
		successor->options.told(successor->options.context, true);
	else
		uv_poll_stop(poll);
}

static void on_limit(uv_timer_t *timer)
{
	struct successor *successor = timer->data;

	log_event(LOG_ERROR, "the successor does not come up, killing it",
		  log_number("pid", successor->process.pid),
		  log_number("after_ms", successor->options.limit_ms));
	kill_it(successor);
}

static void on_end(uv_process_t *process, int64_t code, int signal_number)
{
	struct successor *successor = process->data;

	successor->has_ended = true;
	log_event(successor->serves && code == 0 && signal_number == 0 ? LOG_INFO : LOG_ERROR,
		  successor->serves ? "the successor has ended" : "the successor did not start",
		  log_number("pid", process->pid), log_number("code", code),
		  log_number("signal", signal_number));
	if (successor->serves)
		return;
	stop_waiting(successor);
	successor->options.told(successor->options.context, false);
}

static uv_stdio_container_t inherit(int fd)
{
	if (fd < 0)
		return (uv_stdio_container_t){.flags = UV_IGNORE};
	return (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
}

static int spawn(struct successor *successor, int ready_fd)
{
	const struct successor_options *options = &successor->options;
	const char *directory = options->start->directory;
	char terms[TERMS_SIZE];
	uv_stdio_container_t stdio[DESCRIPTORS] = {
		inherit(-1),
		inherit(STDOUT_FILENO),
		inherit(STDERR_FILENO),
		[SERVICE_FD] = inherit(options->service_fd),
		[READY_FD] = inherit(ready_fd),
	};
	uv_process_options_t process = {
		.exit_cb = on_end,
		.file = options->start->path,
		.args = options->start->argv,
		.cwd = directory && access(directory, X_OK) == 0 ? directory : NULL,
		.stdio_count = LISTEN_FD + (int)options->listen_count,
		.stdio = stdio,
	};

	for (size_t i = 0; i < options->listen_count; i++)
		stdio[LISTEN_FD + i] = inherit(options->listen_fds[i]);
	write_terms(options->config, options->listen_count, terms);
	setenv(VARIABLE, terms, 1);
	int result = uv_spawn(options->loop, &successor->process, &process);
	unsetenv(VARIABLE);
	return result;
}

struct successor *successor_start(const struct successor_options *options)
{
	struct successor *successor = xcalloc(1, sizeof(*successor));
	int pipe_fds[2], result;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		log_event(LOG_ERROR, "cannot start a successor", log_text("why", strerror(errno)));
		free(successor);
		return NULL;
	}
	successor->options = *options;
	successor->ready_fd = pipe_fds[0];
	uv_poll_init(options->loop, &successor->poll, successor->ready_fd);
	uv_timer_init(options->loop, &successor->limit);
	successor->process.data = successor->poll.data = successor->limit.data = successor;
	successor->open_handles = 3;
	result = spawn(successor, pipe_fds[1]);
	close(pipe_fds[1]);
	if (result != 0) {
		log_event(LOG_ERROR, "cannot start a successor",
			  log_text("why", uv_strerror(result)),
			  log_text("program", options->start->path));
		successor->has_ended = true;
		successor_free(successor); /* a handle that uv_spawn has failed on is closed too */
		return NULL;
	}
	uv_poll_start(&successor->poll, UV_READABLE, on_ready);
	uv_timer_start(&successor->limit, on_limit, (uint64_t)options->limit_ms, 0);
	return successor;
}
