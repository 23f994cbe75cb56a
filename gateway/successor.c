/*
 * A successor, see successor.h. State: while one is starting, its process and a pipe on which it
 * says that it serves. Never blocks. One that does not come up changes nothing: the old gateway
 * goes on.
 *
 * The descriptors have fixed numbers in the successor; the variable of the environment says that
 * they are there, and where the old one listens.
 */
#include "gateway/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include "shared/alloc.h"
#include "shared/log.h"

#define VARIABLE "WAVELOG_WORKER_INHERITS"

enum { LISTEN_FD = 3, SERVICE_FD = 4, READY_FD = 5, DESCRIPTORS = 6 };
enum { PATH_SIZE = 4096, WHERE_SIZE = 512 };

struct successor {
	uv_process_t process;
	uv_poll_t poll;
	int open_handles;
	int ready_fd;
	struct successor_options options;
};

/* The part of the configuration that decides where to listen. */
static void write_where(const struct config *config, char where[WHERE_SIZE])
{
	snprintf(where, WHERE_SIZE, "%s %lld", config->ws_bind, (long long)config->ws_port);
}

struct inheritance inheritance_take(const struct config *config)
{
	struct inheritance inheritance = {-1, -1, -1};
	const char *there = getenv(VARIABLE);
	char here[WHERE_SIZE];

	if (!there)
		return inheritance;
	for (int fd = LISTEN_FD; fd < DESCRIPTORS; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	inheritance = (struct inheritance){LISTEN_FD, SERVICE_FD, READY_FD};
	write_where(config, here);
	if (strcmp(here, there) != 0) {
		close(inheritance.listen_fd);
		inheritance.listen_fd = -1;
	}
	unsetenv(VARIABLE);
	return inheritance;
}

void inheritance_ready(struct inheritance *inheritance)
{
	if (inheritance->ready_fd < 0)
		return;
	if (write(inheritance->ready_fd, "!", 1) != 1)
		log_event(LOG_WARN, "the predecessor has gone");
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
	close(successor->ready_fd);
	successor->ready_fd = -1;
	uv_close((uv_handle_t *)&successor->poll, forget_handle);
}

void successor_free(struct successor *successor)
{
	if (!successor)
		return;
	stop_waiting(successor);
	uv_close((uv_handle_t *)&successor->process, forget_handle);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct successor *successor = poll->data;
	char word;
	bool serves = read(successor->ready_fd, &word, 1) == 1;

	(void)status;
	(void)events;
	stop_waiting(successor);
	successor->options.done(successor->options.context, serves);
}

static void on_exit_of_it(uv_process_t *process, int64_t code, int signal_number)
{
	(void)process;
	log_event(LOG_WARN, "the successor has ended", log_number("code", code),
		  log_number("signal", signal_number));
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

static int spawn(struct successor *successor, const char *program, int ready_fd)
{
	const struct successor_options *options = &successor->options;
	char where[WHERE_SIZE];
	uv_stdio_container_t stdio[DESCRIPTORS] = {
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
		[LISTEN_FD] = {.flags = UV_INHERIT_FD, .data.fd = options->listen_fd},
		[SERVICE_FD] = {.flags = UV_INHERIT_FD, .data.fd = options->service_fd},
		[READY_FD] = {.flags = UV_INHERIT_FD, .data.fd = ready_fd},
	};
	uv_process_options_t process = {
		.exit_cb = on_exit_of_it,
		.file = program,
		.args = options->argv,
		.stdio_count = DESCRIPTORS,
		.stdio = stdio,
	};

	write_where(options->config, where);
	setenv(VARIABLE, where, 1);
	int result = uv_spawn(options->loop, &successor->process, &process);
	unsetenv(VARIABLE);
	return result;
}

struct successor *successor_start(const struct successor_options *options)
{
	struct successor *successor = xcalloc(1, sizeof(*successor));
	char program[PATH_SIZE];
	int pipe_fds[2];

	successor->options = *options;
	successor->process.data = successor->poll.data = successor;
	successor->ready_fd = -1;
	if (!find_program(program) || pipe2(pipe_fds, O_CLOEXEC) != 0) {
		log_event(LOG_ERROR, "cannot start a successor", log_text("why", strerror(errno)));
		free(successor);
		return NULL;
	}
	int result = spawn(successor, program, pipe_fds[1]);
	close(pipe_fds[1]);
	successor->open_handles = 1;
	if (result != 0) {
		log_event(LOG_ERROR, "cannot start a successor",
			  log_text("why", uv_strerror(result)));
		close(pipe_fds[0]);
		successor_free(successor); /* a handle that uv_spawn has failed on is closed too */
		return NULL;
	}
	successor->ready_fd = pipe_fds[0];
	successor->open_handles = 2;
	uv_poll_init(options->loop, &successor->poll, successor->ready_fd);
	uv_poll_start(&successor->poll, UV_READABLE, on_ready);
	return successor;
}
