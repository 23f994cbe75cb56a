/*
 * Child processes, see child.h. State: the process of each and a pipe on which it says that it
 * serves. Never blocks. One that does not come up changes nothing here.
 *
 * The descriptors have fixed numbers in the child; the variable of the environment says which are
 * there, and where the sockets listen.
 */
#include "gateway/processes/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/log.h"

#define VARIABLE "WAVELOG_WORKER_INHERITS"

enum { SERVICE_FD = 3, READY_FD = 4, WAKEUP_FD = 5, TALLY_FD = 6, LISTEN_FD = 7 };
enum { DESCRIPTORS = LISTEN_FD + CHILD_MAX_LISTEN };
enum { PATH_SIZE = 4096, TERMS_SIZE = 512 };

struct child {
	uv_process_t process;
	uv_poll_t poll;
	int open_handles;
	int ready_fd;
	bool has_ended;
	struct child_options options;
};

/* The worker's number, how many there are, the number of sockets, and what decides where they
 * listen. */
static void write_terms(const struct config *config, int worker, size_t workers,
			size_t listen_count, char terms[TERMS_SIZE])
{
	snprintf(terms, TERMS_SIZE, "%d %zu %zu %s %lld", worker, workers, listen_count,
		 config->ws_bind, (long long)config->ws_port);
}

static void take_sockets(struct inheritance *inheritance, size_t count, bool are_good)
{
	for (size_t i = 0; i < count && i < CHILD_MAX_LISTEN; i++) {
		int fd = LISTEN_FD + (int)i;

		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (are_good)
			inheritance->listen_fds[inheritance->listen_count++] = fd;
		else
			close(fd);
	}
}

struct inheritance inheritance_take(const struct config *config)
{
	struct inheritance inheritance = {
		.service_fd = -1, .ready_fd = -1, .wakeup_fd = -1, .tally_fd = -1};
	const char *there = getenv(VARIABLE);
	char here[TERMS_SIZE], *end;

	if (!there)
		return inheritance;
	inheritance.worker = (int)strtol(there, &end, 10);
	inheritance.workers = strtoul(end, &end, 10);
	size_t count = strtoul(end, NULL, 10);
	write_terms(config, inheritance.worker, inheritance.workers, count, here);
	for (int fd = SERVICE_FD; fd < LISTEN_FD; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	inheritance.service_fd = SERVICE_FD;
	inheritance.ready_fd = READY_FD;
	if (inheritance.worker > 0) {
		inheritance.wakeup_fd = WAKEUP_FD;
		inheritance.tally_fd = TALLY_FD;
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	}
	take_sockets(&inheritance, count, strcmp(here, there) == 0);
	unsetenv(VARIABLE);
	return inheritance;
}

void inheritance_ready(struct inheritance *inheritance)
{
	if (inheritance->ready_fd < 0)
		return;
	if (write(inheritance->ready_fd, "!", 1) != 1) {
		log_event(LOG_WARN, "the parent process has gone");
		if (inheritance->worker > 0) /* perhaps before it was to be told, see above */
			raise(SIGTERM);
	}
	close(inheritance->ready_fd);
	inheritance->ready_fd = -1;
}

static void forget_handle(uv_handle_t *handle)
{
	struct child *child = handle->data;

	if (--child->open_handles == 0)
		free(child);
}

static void stop_waiting(struct child *child)
{
	if (child->ready_fd < 0)
		return;
	uv_poll_stop(&child->poll);
	close(child->ready_fd);
	child->ready_fd = -1;
	uv_close((uv_handle_t *)&child->poll, forget_handle);
}

void child_free(struct child *child)
{
	if (!child)
		return;
	stop_waiting(child);
	uv_close((uv_handle_t *)&child->process, forget_handle);
}

void child_signal(struct child *child, int number)
{
	if (!child->has_ended)
		uv_process_kill(&child->process, number);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct child *child = poll->data;
	char word;
	bool serves = read(child->ready_fd, &word, 1) == 1;

	(void)status;
	(void)events;
	stop_waiting(child);
	child->options.ready(child->options.context, serves);
}

static void on_exit_of_it(uv_process_t *process, int64_t code, int signal_number)
{
	struct child *child = process->data;
	bool is_fine = code == 0 && signal_number == 0;

	child->has_ended = true;
	log_event(is_fine ? LOG_INFO : LOG_WARN, "a child process has ended",
		  log_number("pid", process->pid), log_number("code", code),
		  log_number("signal", signal_number));
	if (child->options.ended)
		child->options.ended(child->options.context);
}

/* Where this program was started from: what lies there now may be a newer one. */
static bool find_program(char path[PATH_SIZE])
{
	size_t size = PATH_SIZE;
	char *deleted;

	if (uv_exepath(path, &size) != 0)
		return false;
	deleted = strstr(path, " (deleted)"); /* what Linux says when the file was replaced */
	if (deleted)
		*deleted = '\0';
	return true;
}

static uv_stdio_container_t inherit(int fd)
{
	if (fd < 0)
		return (uv_stdio_container_t){.flags = UV_IGNORE};
	return (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
}

static int spawn(struct child *child, char *program, int ready_fd)
{
	const struct child_options *options = &child->options;
	char terms[TERMS_SIZE];
	uv_stdio_container_t stdio[DESCRIPTORS] = {
		inherit(-1),
		inherit(STDOUT_FILENO),
		inherit(STDERR_FILENO),
		[SERVICE_FD] = inherit(options->service_fd),
		[READY_FD] = inherit(ready_fd),
		[WAKEUP_FD] = inherit(options->wakeup_fd),
		[TALLY_FD] = inherit(options->tally_fd),
	};
	uv_process_options_t process = {
		.exit_cb = on_exit_of_it,
		.file = program,
		.args = options->argv,
		.stdio_count = LISTEN_FD + (int)options->listen_count,
		.stdio = stdio,
	};

	for (size_t i = 0; i < options->listen_count; i++)
		stdio[LISTEN_FD + i] = inherit(options->listen_fds[i]);
	write_terms(options->config, options->worker, options->workers, options->listen_count,
		    terms);
	setenv(VARIABLE, terms, 1);
	int result = uv_spawn(options->loop, &child->process, &process);
	unsetenv(VARIABLE);
	return result;
}

static struct child *fail(struct child *child, const char *why)
{
	log_event(LOG_ERROR, "cannot start a child process", log_text("why", why));
	if (child->open_handles > 0)
		child_free(child); /* a handle that uv_spawn has failed on is closed too */
	else
		free(child);
	return NULL;
}

struct child *child_start(const struct child_options *options)
{
	struct child *child = xcalloc(1, sizeof(*child));
	char program[PATH_SIZE];
	int pipe_fds[2];

	child->options = *options;
	child->process.data = child->poll.data = child;
	child->ready_fd = -1;
	if (!find_program(program) || pipe2(pipe_fds, O_CLOEXEC) != 0)
		return fail(child, strerror(errno));
	int result = spawn(child, program, pipe_fds[1]);
	close(pipe_fds[1]);
	child->open_handles = 1;
	if (result != 0) {
		close(pipe_fds[0]);
		return fail(child, uv_strerror(result));
	}
	child->ready_fd = pipe_fds[0];
	child->open_handles = 2;
	uv_poll_init(options->loop, &child->poll, child->ready_fd);
	uv_poll_start(&child->poll, UV_READABLE, on_ready);
	return child;
}
