/*
 * Successors and what is inherited, see successor.h. State: for each successor its process, a pipe
 * on which it says that it is serving, and the time it has for that. Never blocks. A successor that
 * does not come up changes nothing here.
 */
#include "gateway/processes/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/held_file.h"
#include "shared/base/log.h"
#include "shared/base/service_manager.h"
#include "shared/base/signals.h"
#include "shared/base/state_dir.h"
#include "shared/config/options.h"

enum { PLACE_SIZE = 256, WHY_SIZE = 512 };

/* Looks, a second apart. */
enum {
	STEADY_LOOKS = 3, /* at which a new program must be the same: whoever writes it is done */
	MOST_REFUSALS = 5 /* somebody may be about to leave, or to come to nothing */
};

struct successor {
	pid_t pid; /* 0: it has ended */
	uv_poll_t poll;
	uv_timer_t limit;
	int holders;
	int ready_fd; /* -1: it has said all it will say */
	bool serves;
	int64_t limit_ms;
	successor_told *told;
	void *context;
};

/* What decides where sockets listen. */
static void write_place(const struct config *config, char place[PLACE_SIZE])
{
	snprintf(place, PLACE_SIZE, "%s %lld", config->ws_bind, (long long)config->ws_port);
}

static int take_fd(char **at)
{
	int fd = (int)strtol(*at, at, 10);

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

bool inheritance_take(struct inheritance *inheritance, const struct config *config, char **argv)
{
	char *there = getenv(HANDED_DOWN_VARIABLE), *at = there, here[PLACE_SIZE];

	*inheritance = (struct inheritance){.argv = argv,
					    .directory = get_current_dir_name(),
					    .service_fd = -1,
					    .ready_fd = -1,
					    .wakeup_fd = -1};
	stat(argv[0], &inheritance->program);
	if (!there)
		return true;
	if (strncmp(there, HANDED_DOWN_FORM, strlen(HANDED_DOWN_FORM)) != 0) {
		log_event(LOG_ERROR, "cannot take over from a gateway of another version");
		return false;
	}
	at += strlen(HANDED_DOWN_FORM);
	inheritance->service_fd = take_fd(&at);
	inheritance->ready_fd = take_fd(&at);
	inheritance->listen_count = strtoul(at, &at, 10) % (SUCCESSOR_MAX_LISTEN + 1);
	for (size_t i = 0; i < inheritance->listen_count; i++)
		inheritance->listen_fds[i] = take_fd(&at);
	write_place(config, here);
	while (strcmp(at + strspn(at, " "), here) != 0 && inheritance->listen_count > 0)
		close(inheritance->listen_fds[--inheritance->listen_count]);
	unsetenv(HANDED_DOWN_VARIABLE);
	return true;
}

void inheritance_clear(struct inheritance *inheritance)
{
	free(inheritance->directory);
	inheritance_hand_over(inheritance);
}

struct liveness *inheritance_claim(struct inheritance *inheritance, const struct config *config,
				   int *exit_code)
{
	const char *what = "no database";
	struct liveness *liveness = NULL;
	char why[WHY_SIZE], path[STATE_DIR_PATH_SIZE], user[STATE_DIR_USER_SIZE];
	struct stat info;

	*exit_code = EXIT_FAILURE;
	if (state_dir_prepare(config->state_dir, false, why, sizeof(why))) {
		liveness = liveness_open(config->state_dir);
		if (liveness && inheritance->worker == 0)
			inheritance->service_fd =
				liveness_claim_service(config->state_dir, inheritance->service_fd);
		if (liveness && (inheritance->worker > 0 || inheritance->service_fd >= 0))
			return liveness;
		if (liveness && errno == EAGAIN) {
			*exit_code = EXIT_TEMPORARY;
			what = "another gateway runs";
			long long pid = liveness_server(liveness);
			snprintf(why, sizeof(why), "it serves this state_dir");
			snprintf(path, sizeof(path), "/proc/%lld", pid);
			if (pid > 0 && stat(path, &info) == 0) {
				state_dir_user(info.st_uid, user);
				snprintf(why, sizeof(why),
					 "process %lld of %s serves this state_dir", pid, user);
			}
		} else {
			what = "cannot open gateway.lock";
			state_dir_file(config->state_dir, "gateway.lock", path);
			state_dir_explain(path, errno, why, sizeof(why));
		}
	}
	log_event(LOG_ERROR, what, log_text("state_dir", config->state_dir), log_text("why", why));
	liveness_close(liveness);
	return NULL;
}

/* Hands over to a program that has taken the place of ours, if we have not tried it yet. */
static void look_at_program(struct inheritance *inheritance)
{
	const char *path = inheritance->argv[0];
	struct stat now;

	if (!strchr(path, '/') || stat(path, &now) != 0 || access(path, X_OK) != 0 ||
	    file_is_the_same(&inheritance->program, &now)) {
		inheritance->steady_looks = 0;
		return;
	}
	if (!file_is_the_same(&inheritance->newer, &now))
		inheritance->steady_looks = 0;
	inheritance->newer = now;
	if (++inheritance->steady_looks < STEADY_LOOKS)
		return;
	inheritance->program = now;
	log_event(LOG_INFO, "the program was replaced, handing over", log_text("program", path));
	kill(getpid(), SIGUSR2);
}

bool inheritance_keep(struct inheritance *inheritance, const struct config *config)
{
	bool is_worker = inheritance->worker > 0;
	char log_path[STATE_DIR_PATH_SIZE];

	if (state_dir_file(config->state_dir, GATEWAY_LOG_NAME, log_path))
		log_look_after(log_path, config->gateway_log_max_bytes, !is_worker);
	if (is_worker)
		return true;
	if (config->gateway_autostart)
		look_at_program(inheritance);
	inheritance->service_fd =
		liveness_claim_service(config->state_dir, inheritance->service_fd);
	inheritance->refusals = inheritance->service_fd >= 0 ? 0 : inheritance->refusals + 1;
	if (inheritance->refusals < MOST_REFUSALS)
		return true;
	log_event(LOG_ERROR, "another gateway runs", log_text("state_dir", config->state_dir),
		  log_text("why", "the directory was replaced, and it came first"));
	return false;
}

void inheritance_hand_over(struct inheritance *inheritance)
{
	if (inheritance->service_fd >= 0)
		close(inheritance->service_fd);
	inheritance->service_fd = -1;
}

void inheritance_ready(struct inheritance *inheritance, struct liveness *liveness)
{
	char number = (char)inheritance->worker;

	if (inheritance->worker == 0) {
		liveness_sign(liveness, getpid());
		service_manager_ready();
	}
	if (inheritance->ready_fd < 0)
		return;
	if (write(inheritance->ready_fd, &number, 1) != 1)
		log_event(LOG_WARN, "the parent process has gone");
	close(inheritance->ready_fd);
	inheritance->ready_fd = -1;
}

static void let_go(struct successor *successor)
{
	if (--successor->holders == 0)
		free(successor);
}

static void forget_handle(uv_handle_t *handle)
{
	let_go(handle->data);
}

/* The handles first: when one is closed, libuv tells epoll so by the descriptor's number, which
 * must not be another's by then. */
static void stop_waiting(struct successor *successor)
{
	if (successor->ready_fd < 0)
		return;
	uv_close((uv_handle_t *)&successor->poll, forget_handle);
	uv_close((uv_handle_t *)&successor->limit, forget_handle);
	close(successor->ready_fd);
	successor->ready_fd = -1;
}

void successor_forget(struct successor *successor)
{
	if (!successor)
		return;
	stop_waiting(successor);
	let_go(successor);
}

bool successor_serves(struct successor *successor)
{
	char word;

	if (successor && successor->ready_fd >= 0 && read(successor->ready_fd, &word, 1) == 1) {
		successor->serves = true;
		stop_waiting(successor);
	}
	return successor && successor->serves;
}

void successor_free(struct successor *successor)
{
	if (successor && !successor_serves(successor) && successor->pid > 0)
		kill(successor->pid, SIGKILL);
	successor_forget(successor);
}

bool successor_settle(struct successor **successor)
{
	if (successor_serves(*successor))
		return true;
	successor_free(*successor);
	*successor = NULL;
	return false;
}

/* When it ends, its end of the pipe closes without a word; successor_reap tells the rest. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct successor *successor = poll->data;

	(void)status;
	(void)events;
	if (successor_serves(successor))
		successor->told(successor->context);
	else
		uv_poll_stop(poll);
}

static void on_limit(uv_timer_t *timer)
{
	struct successor *successor = timer->data;

	log_event(LOG_ERROR, "the successor does not come up, killing it",
		  log_number("pid", successor->pid), log_number("after_ms", successor->limit_ms));
	kill(successor->pid, SIGKILL);
}

void successor_reap(struct successor *successor)
{
	if (!successor)
		return;
	bool has_served = successor_serves(successor);
	if (!child_reap(&successor->pid, LOG_ERROR,
			has_served ? "the successor has ended" : "the successor did not start") ||
	    has_served)
		return;
	stop_waiting(successor);
	successor->told(successor->context);
}

/* Lets the program inherit that descriptor, and writes its number. */
static void hand_down(posix_spawn_file_actions_t *actions, int fd, FILE *text)
{
	posix_spawn_file_actions_adddup2(actions, fd, fd); /* which is not close-on-exec then */
	fprintf(text, "%d ", fd);
}

/* Returns an errno. */
static int spawn(struct successor *successor, const struct inheritance *inheritance,
		 const struct config *config, int ready_fd)
{
	char place[PLACE_SIZE], *terms;
	size_t len;
	FILE *text = open_memstream(&terms, &len);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;

	if (!text)
		return errno;
	posix_spawn_file_actions_init(&actions);
	if (inheritance->directory && access(inheritance->directory, X_OK) == 0)
		posix_spawn_file_actions_addchdir_np(&actions, inheritance->directory);
	fputs(HANDED_DOWN_FORM, text);
	hand_down(&actions, inheritance->service_fd, text);
	hand_down(&actions, ready_fd, text);
	fprintf(text, "%zu ", inheritance->listen_count);
	for (size_t i = 0; i < inheritance->listen_count; i++)
		hand_down(&actions, inheritance->listen_fds[i], text);
	write_place(config, place);
	fputs(place, text);
	fclose(text);
	setenv(HANDED_DOWN_VARIABLE, terms, 1);
	free(terms);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int error = posix_spawnp(&successor->pid, inheritance->argv[0], &actions, &attributes,
				 inheritance->argv, environ);
	unsetenv(HANDED_DOWN_VARIABLE);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

struct successor *successor_start(struct uv_loop_s *loop, const struct inheritance *inheritance,
				  const struct config *config, int64_t limit_ms,
				  successor_told *told, void *context)
{
	struct successor *successor = xcalloc(1, sizeof(*successor));
	int pipe_fds[2] = {-1, -1};
	int error = pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0
			    ? spawn(successor, inheritance, config, pipe_fds[1])
			    : errno;

	if (pipe_fds[1] >= 0)
		close(pipe_fds[1]);
	if (error != 0) {
		log_event(LOG_ERROR, "cannot start a successor", log_text("why", strerror(error)),
			  log_text("program", inheritance->argv[0]));
		if (pipe_fds[0] >= 0)
			close(pipe_fds[0]);
		free(successor);
		return NULL;
	}
	successor->ready_fd = pipe_fds[0];
	successor->limit_ms = limit_ms;
	successor->told = told;
	successor->context = context;
	uv_poll_init(loop, &successor->poll, successor->ready_fd);
	uv_timer_init(loop, &successor->limit);
	successor->poll.data = successor->limit.data = successor;
	successor->holders = 3; /* two handles, and whoever started it */
	uv_poll_start(&successor->poll, UV_READABLE, on_ready);
	uv_timer_start(&successor->limit, on_limit, (uint64_t)limit_ms, 0);
	return successor;
}
