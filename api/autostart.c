/*
 * Starting a gateway, see autostart.h. State: when this process has last looked; and the file
 * <state_dir>/gateway.start, which says how often in a row a start has come to nothing, and why.
 * Its time is that of the last start. It is written by whoever holds the right to serve.
 *
 * The gateway must outlive us, the web server's process group, and whoever waits for the end of our
 * pipes. So a fork of a fork, in a session of its own and without any descriptor of ours, starts
 * it, stays until it serves or has ended, writes down which of the two, and goes.
 */
#include "api/autostart.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/handed_down.h"
#include "shared/base/log.h"
#include "shared/base/state_dir.h"
#include "shared/database/liveness.h"

#define PROGRAM "wavelog-worker-gateway"

enum {
	LOOK_MS = 500,
	MOST_WAIT_S = 30, /* between two starts; 1 s at first, then twice as long, and so on */
	MOST_FAILURES = 5, /* that are told apart: then it waits no longer */
	STAYED_S = 60, /* what has lasted for so long has not failed */
	LOG_END = 2048, /* where the log is searched for the reason of an end */
	WHY_SIZE = 320,
	MOST_FDS = 65536, /* that are closed where there is no /proc to name them */
	ENVIRONMENT_SIZE = 40
};

struct start {
	int64_t age_s; /* of the last one; -1: there was none */
	int failures; /* in a row, before it */
	char why[WHY_SIZE]; /* it has failed; "": it has not, as far as anybody knows */
};

static void start_read(const struct config *config, struct start *start)
{
	char path[STATE_DIR_PATH_SIZE], text[WHY_SIZE + 16] = "", *rest = text;
	unsigned long failures;
	struct stat info;
	int fd = state_dir_file(config->state_dir, "gateway.start", path)
			 ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
			 : -1;

	*start = (struct start){.age_s = -1};
	if (fd < 0)
		return;
	if (fstat(fd, &info) == 0 && read(fd, text, sizeof(text) - 1) >= 0) {
		start->age_s =
			clock_wall_ms() / 1000 - info.st_mtime; /* -1 too: the clock was set */
		failures = strtoul(text, &rest, 10);
		start->failures = failures < MOST_FAILURES ? (int)failures : MOST_FAILURES;
		snprintf(start->why, WHY_SIZE, "%.*s", WHY_SIZE - 1, rest + (*rest == ' '));
	}
	close(fd);
}

static bool start_write(const struct config *config, int failures, const char *why)
{
	char path[STATE_DIR_PATH_SIZE];
	int fd = state_dir_file(config->state_dir, "gateway.start", path)
			 ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600)
			 : -1;

	if (fd < 0)
		return false;
	dprintf(fd, "%d %s", failures, why);
	close(fd);
	return true;
}

static void blame(const char *what, int error, char why[WHY_SIZE])
{
	snprintf(why, WHY_SIZE, "%.*s: %s", WHY_SIZE / 2, what, strerror(error));
}

static bool is_due(const struct config *config, struct start *last)
{
	start_read(config, last);
	return last->age_s < 0 ||
	       last->age_s >= (last->failures < MOST_FAILURES ? 1 << last->failures : MOST_WAIT_S);
}

/* What the gateway itself has said last, or whoever could not load it; from its end of the log. */
static void add_last_words(int log_fd, off_t from, char why[WHY_SIZE])
{
	static const char mark[] = " level=error program=gateway msg=";
	char text[LOG_END + 1], *said = text, *line;
	struct stat info;
	ssize_t len;

	if (fstat(log_fd, &info) == 0 && info.st_size - from > LOG_END)
		from = info.st_size - LOG_END;
	len = pread(log_fd, text, LOG_END, from);
	text[len > 0 ? len : 0] = '\0';
	while ((line = strchr(said, '\n')) != NULL && line[1])
		said = line + 1;
	for (line = text; (line = strstr(line, mark)) != NULL;)
		said = line += strlen(mark);
	snprintf(why + strlen(why), WHY_SIZE - strlen(why), ": %.*s", (int)strcspn(said, "\n"),
		 said);
}

/* Leaves the web server: its session, its descriptors, its signals. Returns the descriptor of the
 * gateway's log, with which this process logs too from now on. */
static int leave(const struct config *config, int kept_fd)
{
	char path[STATE_DIR_PATH_SIZE];
	sigset_t none;
	DIR *fds;
	struct dirent *entry;
	int log_fd;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_fd = state_dir_file(config->state_dir, GATEWAY_LOG_NAME, path)
			 ? open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)
			 : -1;
	fds = opendir("/proc/self/fd");
	for (int fd = 0; !fds && fd < MOST_FDS; fd++)
		if (fd != kept_fd && fd != log_fd)
			close(fd);
	while (fds && (entry = readdir(fds)) != NULL) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (*entry->d_name != '.' && fd != kept_fd && fd != log_fd && fd != dirfd(fds))
			close(fd);
	}
	if (fds)
		closedir(fds);
	log_open(); /* fills 0 to 2 */
	if (log_fd >= 0)
		dup2(log_fd, STDERR_FILENO);
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		fcntl(fd, F_SETFD, 0);
	return log_fd;
}

/* Of the environment only what the gateway looks at: a CGI's holds the request, with the secret. */
static void choose_environment(char *chosen[ENVIRONMENT_SIZE], char *handed_down)
{
	static const char *const kept[] = {
		"WORKER_", "PATH=", "HOME=", "LANG=", "TZ=", "LD_LIBRARY_PATH="};
	size_t count = 0;

	chosen[count++] = handed_down;
	for (char **variable = environ; *variable && count < ENVIRONMENT_SIZE - 1; variable++)
		for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
			if (strncmp(*variable, kept[i], strlen(kept[i])) == 0 &&
			    count < ENVIRONMENT_SIZE - 1)
				chosen[count++] = *variable;
	chosen[count] = NULL;
}

/* Starts the gateway and waits until it serves. Otherwise `why` says what has happened. */
static void start_and_watch(char *program, char *config_path, int service_fd, int log_fd,
			    char why[WHY_SIZE])
{
	char option[] = "-c", *argv[] = {program, option, config_path, NULL};
	char *variables[ENVIRONMENT_SIZE], handed_down[64], word;
	int ready_fds[2], status = 0, error;
	off_t log_end = lseek(log_fd, 0, SEEK_END);
	pid_t pid;

	if (pipe2(ready_fds, O_CLOEXEC) != 0) {
		blame("pipe", errno, why);
		return;
	}
	snprintf(handed_down, sizeof(handed_down), "%s=%s%d %d 0 ", HANDED_DOWN_VARIABLE,
		 HANDED_DOWN_FORM, service_fd, ready_fds[1]);
	choose_environment(variables, handed_down);
	fcntl(service_fd, F_SETFD, 0);
	fcntl(ready_fds[1], F_SETFD, 0);
	error = posix_spawn(&pid, program, NULL, NULL, argv, variables);
	close(ready_fds[1]);
	if (error != 0) {
		blame(program, error, why);
		return;
	}
	if (poll(&(struct pollfd){.fd = ready_fds[0], .events = POLLIN}, 1, HANDED_DOWN_LIMIT_MS) ==
	    0)
		kill(pid, SIGKILL);
	if (read(ready_fds[0], &word, 1) == 1 || waitpid(pid, &status, 0) != pid)
		return;
	if (WIFSIGNALED(status))
		snprintf(why, WHY_SIZE, "signal %d has ended it", WTERMSIG(status));
	else
		snprintf(why, WHY_SIZE, "it ended with %d", WEXITSTATUS(status));
	add_last_words(log_fd, log_end, why);
}

/* In the fork of the fork. */
static _Noreturn void bring_up(const struct config *config, char *program, int service_fd,
			       int failures)
{
	char path[STATE_DIR_PATH_SIZE], *directory = get_current_dir_name(), why[WHY_SIZE] = "";
	bool is_relative = config->path[0] != '/' && directory;
	int log_fd = leave(config, service_fd);

	snprintf(path, sizeof(path), "%s%s%s", is_relative ? directory : "", is_relative ? "/" : "",
		 config->path);
	if (chdir("/") == 0)
		start_and_watch(program, path, service_fd, log_fd, why);
	if (*why)
		log_event(LOG_ERROR, "the gateway did not start", log_text("why", why));
	start_write(config, failures, why);
	_exit(EXIT_SUCCESS);
}

/* The program beside our own. Its name is written even if there is none; false with errno then. */
static bool find_program(char path[STATE_DIR_PATH_SIZE])
{
	const size_t room = STATE_DIR_PATH_SIZE - sizeof(PROGRAM) - 1;
	ssize_t len = readlink("/proc/self/exe", path, room);
	char *end, *called = len < 0 ? realpath(program_invocation_name, NULL) : NULL;

	path[len > 0 ? len : 0] = '\0';
	if (called) /* in a chroot without /proc */
		snprintf(path, room, "%s", called);
	free(called);
	end = strrchr(path, '/');
	memcpy(end ? end + 1 : path, PROGRAM, sizeof(PROGRAM));
	return access(path, X_OK) == 0;
}

static void start_one(const struct config *config, int service_fd, const struct start *last)
{
	char program[STATE_DIR_PATH_SIZE], why[WHY_SIZE] = "";
	bool has_stayed = last->age_s < 0 || last->age_s >= STAYED_S;
	int failures = has_stayed ? 0 : last->failures + 1;
	pid_t pid;

	if (!find_program(program))
		blame(program, errno, why);
	if (!start_write(config, failures, why) && !*why)
		blame("gateway.start", errno, why);
	if (!*why) {
		log_event(LOG_INFO, "starting a gateway", log_number("failures", failures),
			  log_text("last", last->why));
		pid = fork();
		if (pid == 0) {
			setsid();
			if (fork() == 0)
				bring_up(config, program, service_fd, failures);
			_exit(EXIT_SUCCESS);
		}
		if (pid < 0)
			blame("fork", errno, why);
		else
			waitpid(pid, NULL, 0);
	}
	if (*why)
		log_event(LOG_ERROR, "cannot start a gateway", log_text("why", why));
}

void autostart_look(const struct config *config)
{
	static int64_t looked_ms;
	int64_t now_ms = clock_monotonic_ms();
	struct start last;
	int service_fd;

	if (!config->gateway_autostart || (looked_ms > 0 && now_ms - looked_ms < LOOK_MS))
		return;
	looked_ms = now_ms;
	if (!is_due(config, &last))
		return;
	service_fd = liveness_claim_service(config->state_dir, -1);
	if (service_fd < 0)
		return;
	if (is_due(config, &last)) /* nobody was faster */
		start_one(config, service_fd, &last);
	close(service_fd);
}

void autostart_explain(const struct config *config, char text[AUTOSTART_TEXT_SIZE])
{
	static const char none[] = "no gateway is running";
	struct start last;

	start_read(config, &last);
	if (!config->gateway_autostart)
		snprintf(text, AUTOSTART_TEXT_SIZE, "%s, and gateway_autostart is off", none);
	else if (*last.why)
		snprintf(text, AUTOSTART_TEXT_SIZE, "%s: the last start failed: %s", none,
			 last.why);
	else if (last.age_s >= 0)
		snprintf(text, AUTOSTART_TEXT_SIZE, "%s: one was started %lld s ago, see %s", none,
			 (long long)last.age_s, GATEWAY_LOG_NAME " in the state_dir");
	else
		snprintf(text, AUTOSTART_TEXT_SIZE, "%s: one will be started now", none);
	for (char *at = text; *at; at++) /* it becomes JSON */
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?';
}
