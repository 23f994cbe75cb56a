/*
 * The parent of several gateway processes, see supervisor.h. State: what workers and a successor
 * inherit, and for each worker its process and how its starts have gone. Never blocks once it runs.
 *
 *	SIGTERM		the workers drain, then the parent ends
 *	SIGINT		the same at once, as a second SIGTERM does
 *	SIGHUP		the configuration is read again, by the parent and by the workers
 *	SIGUSR2		a successor is started; when it serves, the workers drain
 */
#include "gateway/processes/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/limits.h"
#include "gateway/door/listener.h"
#include "gateway/events/wakeup.h"
#include "gateway/presence/tally.h"
#include "gateway/processes/signals.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/service_manager.h"
#include "shared/base/version.h"
#include "shared/config/options.h"
#include "shared/config/reload.h"
#include "shared/database/liveness.h"
#include "shared/base/state_dir.h"

enum {
	MOST_WORKERS = SUCCESSOR_MAX_LISTEN, /* each has a socket */
	FIRST_WAIT_MS = 100, /* before a worker is started again */
	LONGEST_WAIT_MS = 5000,
	MOST_FAILURES = 6 /* in a row, of a worker that has never served */
};

struct worker {
	pid_t pid; /* 0: it does not run */
	int listen_fd;
	int taps[2]; /* the parent's end and the worker's */
	int failures; /* starts in a row that came to nothing */
	bool has_served;
	int64_t start_ms; /* when to start it */
};

struct supervisor {
	uv_loop_t loop;
	struct config *config;
	const struct program_start *start;
	struct inheritance *inheritance;
	struct reload *reload;
	struct liveness *liveness;
	struct wakeup *wakeup;
	struct tally *tally;
	struct signals *signals;
	uv_signal_t child_ended;
	uv_timer_t start_timer;
	bool is_due; /* the time for that has come */
	uv_poll_t ready;
	int ready_fds[2]; /* a pipe, on which each worker says that it is serving */
	struct successor *successor;
	bool is_listening, is_ending, is_replaced, is_over;
	int exit_code;
	size_t have_served;
	size_t count;
	struct worker workers[MOST_WORKERS]; /* number n is workers[n - 1] */
};

size_t supervisor_workers(const struct config *config)
{
	int64_t wanted = config->gateway_processes;
	cpu_set_t cores;

	if (wanted == CONFIG_PROCESSES_AUTO)
		wanted = sched_getaffinity(0, sizeof(cores), &cores) == 0
				 ? CPU_COUNT(&cores)
				 : sysconf(_SC_NPROCESSORS_ONLN);
	if (wanted < 1)
		wanted = 1;
	return wanted < MOST_WORKERS ? (size_t)wanted : MOST_WORKERS;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_sockets(struct supervisor *supervisor)
{
	const char *path = listen_socket_path(supervisor->config);

	if (path && supervisor->is_listening && !supervisor->is_replaced)
		unlink(path);
	for (size_t i = 0; i < supervisor->count; i++)
		close_fd(&supervisor->workers[i].listen_fd);
	supervisor->is_listening = false;
}

static void signal_workers(struct supervisor *supervisor, int number)
{
	for (size_t i = 0; i < supervisor->count; i++)
		if (supervisor->workers[i].pid > 0)
			kill(supervisor->workers[i].pid, number);
}

static void end_when_alone(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++)
		if (supervisor->workers[i].pid > 0)
			return;
	supervisor->is_over = true;
}

/* Sockets from which nobody accepts any more are closed at once: a newcomer is refused, or goes to
 * a successor's, instead of waiting in a queue until the drain is over. A successor that is not
 * serving yet ends with us: until it is, we are the service that was told to end. */
static void begin_to_end(struct supervisor *supervisor, int number)
{
	if (supervisor->successor && successor_serves(supervisor->successor))
		supervisor->is_replaced = true;
	successor_free(supervisor->successor);
	supervisor->successor = NULL;
	if (supervisor->is_replaced)
		wakeup_hand_over(supervisor->wakeup);
	supervisor->is_ending = true;
	close_sockets(supervisor);
	signal_workers(supervisor, number);
	end_when_alone(supervisor);
}

static void on_successor(void *context, bool serves)
{
	struct supervisor *supervisor = context;

	if (serves) {
		begin_to_end(supervisor, SIGTERM);
		return;
	}
	successor_free(supervisor->successor);
	supervisor->successor = NULL;
}

static void start_successor(struct supervisor *supervisor)
{
	int listen_fds[MOST_WORKERS];
	struct successor_options options = {
		.loop = &supervisor->loop,
		.start = supervisor->start,
		.config = supervisor->config,
		.service_fd = liveness_service_fd(supervisor->liveness),
		.listen_fds = listen_fds,
		.listen_count = supervisor->count,
		.limit_ms = SUCCESSOR_LIMIT_MS,
		.told = on_successor,
		.context = supervisor,
	};

	if (supervisor->is_ending || supervisor->successor)
		return;
	for (size_t i = 0; i < supervisor->count; i++)
		listen_fds[i] = supervisor->workers[i].listen_fd;
	supervisor->successor = successor_start(&options);
}

static void on_signal(void *context, int number)
{
	struct supervisor *supervisor = context;

	if (number == SIGUSR2)
		start_successor(supervisor);
	else if (number != SIGHUP)
		begin_to_end(supervisor, supervisor->is_ending ? SIGINT : number);
	else if (reload_now(supervisor->reload))
		signal_workers(supervisor, SIGHUP);
}

/* A wakeup_look: there is nothing to look at here; the workers look. */
static int pass_tap_on(void *context)
{
	struct supervisor *supervisor = context;

	for (size_t i = 0; i < supervisor->count; i++)
		send(supervisor->workers[i].taps[0], "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	return WAKEUP_WHEN_TAPPED;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct supervisor *supervisor = poll->data;
	unsigned char number;

	(void)status;
	(void)events;
	while (read(supervisor->ready_fds[0], &number, 1) == 1) {
		struct worker *worker = &supervisor->workers[number - 1];

		worker->failures = 0;
		if (worker->has_served)
			continue;
		worker->has_served = true;
		if (++supervisor->have_served == supervisor->count) {
			inheritance_ready(supervisor->inheritance);
			service_manager_ready();
		}
	}
}

static void on_start(uv_timer_t *timer)
{
	struct supervisor *supervisor = timer->data;

	supervisor->is_due = true;
	uv_stop(&supervisor->loop);
}

static void start_later(struct supervisor *supervisor, struct worker *worker)
{
	int64_t wait_ms = FIRST_WAIT_MS << worker->failures;

	if (!worker->has_served && worker->failures >= MOST_FAILURES) {
		log_event(LOG_ERROR, "a worker does not come up, giving up",
			  log_number("worker", worker - supervisor->workers + 1));
		supervisor->exit_code = EXIT_FAILURE;
		begin_to_end(supervisor, SIGTERM);
		return;
	}
	if (worker->failures < MOST_FAILURES)
		worker->failures++;
	worker->start_ms =
		clock_monotonic_ms() + (wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS);
	uv_timer_start(&supervisor->start_timer, on_start, 0, 0);
}

static void on_child_ended(uv_signal_t *handle, int number)
{
	struct supervisor *supervisor = handle->data;
	int status;

	(void)number;
	for (size_t i = 0; i < supervisor->count; i++) {
		struct worker *worker = &supervisor->workers[i];

		if (worker->pid <= 0 || waitpid(worker->pid, &status, WNOHANG) != worker->pid)
			continue;
		log_event(status == 0 ? LOG_INFO : LOG_WARN, "a worker has ended",
			  log_number("pid", worker->pid),
			  log_number("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
			  log_number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
		worker->pid = 0;
		tally_forget(supervisor->tally, i + 1);
		if (supervisor->is_ending)
			end_when_alone(supervisor);
		else
			start_later(supervisor, worker);
	}
}

static void watch(struct supervisor *supervisor)
{
	uv_loop_t *loop = &supervisor->loop;

	uv_signal_init(loop, &supervisor->child_ended);
	uv_timer_init(loop, &supervisor->start_timer);
	uv_poll_init(loop, &supervisor->ready, supervisor->ready_fds[0]);
	supervisor->child_ended.data = supervisor->ready.data = supervisor;
	supervisor->start_timer.data = supervisor;
	uv_timer_start(&supervisor->start_timer, on_start, 0, 0);
	uv_signal_start(&supervisor->child_ended, on_child_ended, SIGCHLD);
	uv_poll_start(&supervisor->ready, UV_READABLE, on_ready);
	supervisor->signals = signals_take(loop, on_signal, supervisor);
}

static void close_all(struct supervisor *supervisor)
{
	if (supervisor->signals) {
		signals_leave(supervisor->signals);
		uv_close((uv_handle_t *)&supervisor->child_ended, NULL);
		uv_close((uv_handle_t *)&supervisor->start_timer, NULL);
		uv_close((uv_handle_t *)&supervisor->ready, NULL);
	}
	successor_free(supervisor->successor);
	tally_free(supervisor->tally);
	close_sockets(supervisor);
	for (size_t end = 0; end < 2; end++) {
		close_fd(&supervisor->ready_fds[end]);
		for (size_t i = 0; i < supervisor->count; i++)
			close_fd(&supervisor->workers[i].taps[end]);
	}
	wakeup_close(supervisor->wakeup);
	liveness_close(supervisor->liveness);
	reload_free(supervisor->reload);
	uv_run(&supervisor->loop, UV_RUN_DEFAULT);
	uv_loop_close(&supervisor->loop);
	free(supervisor);
}

static int take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* In the fork: keeps what this worker uses, and closes everything else of the parent's. If its
 * parent goes, it ends at once, for then nobody holds the service together. */
static void become_worker(struct supervisor *supervisor, struct worker *worker, pid_t parent)
{
	struct inheritance mine = {
		.worker = (int)(worker - supervisor->workers) + 1,
		.workers = supervisor->count,
		.service_fd = fcntl(liveness_service_fd(supervisor->liveness), F_DUPFD_CLOEXEC, 0),
		.ready_fd = take(&supervisor->ready_fds[1]),
		.wakeup_fd = take(&worker->taps[1]),
		.tally = supervisor->tally,
		.listen_fds = {take(&worker->listen_fd)},
		.listen_count = 1,
	};

	prctl(PR_SET_NAME, "gateway-worker");
	prctl(PR_SET_PDEATHSIG, SIGINT);
	if (getppid() != parent)
		raise(SIGINT);
	uv_loop_fork(&supervisor->loop);
	if (supervisor->successor)
		successor_forget(supervisor->successor);
	supervisor->successor = NULL;
	supervisor->tally = NULL;
	supervisor->is_replaced = true; /* the files of the sockets stay */
	wakeup_hand_over(supervisor->wakeup);
	close_fd(&supervisor->inheritance->ready_fd);
	*supervisor->inheritance = mine;
	close_all(supervisor);
}

/* True in the fork. */
static bool start(struct supervisor *supervisor, struct worker *worker)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		become_worker(supervisor, worker, parent);
		return true;
	}
	if (pid > 0) {
		worker->pid = pid;
		return false;
	}
	log_event(LOG_ERROR, "cannot start a worker", log_text("why", strerror(errno)));
	start_later(supervisor, worker);
	return false;
}

/* Starts the workers that are due, and sets the timer for the next one. True in the fork. */
static bool start_workers(struct supervisor *supervisor)
{
	int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;

	for (size_t i = 0; i < supervisor->count && !supervisor->is_ending; i++) {
		struct worker *worker = &supervisor->workers[i];

		if (worker->pid == 0 && worker->start_ms <= now_ms && start(supervisor, worker))
			return true;
		if (worker->pid == 0 && worker->start_ms < next_ms)
			next_ms = worker->start_ms;
	}
	if (next_ms != INT64_MAX)
		uv_timer_start(&supervisor->start_timer, on_start,
			       next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 0, 0);
	return false;
}

/* A turn of the loop, then the starts that are due. They are not made during a turn, because a fork
 * must leave the loop, nor while a signal is on its way, because the fork would wait for it. True
 * in the fork. */
static bool turn(struct supervisor *supervisor)
{
	bool is_worker;

	uv_run(&supervisor->loop, UV_RUN_ONCE);
	if (!supervisor->is_due)
		return false;
	supervisor->is_due = false;
	signals_hold(true);
	uv_run(&supervisor->loop, UV_RUN_NOWAIT);
	is_worker = start_workers(supervisor);
	if (!is_worker)
		signals_hold(false);
	return is_worker;
}

static bool fail(const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("why", why));
	return false;
}

static bool open_state(struct supervisor *supervisor)
{
	const char *state_dir = supervisor->config->state_dir;
	char why[256];

	if (!state_dir_prepare(state_dir, why, sizeof(why)))
		return fail("no state_dir", why);
	supervisor->liveness = liveness_open(state_dir);
	if (!supervisor->liveness)
		return fail("cannot open gateway.lock", strerror(errno));
	if (!liveness_inherit_service(supervisor->liveness, supervisor->inheritance->service_fd)) {
		supervisor->exit_code = EXIT_TEMPORARY;
		return fail("another gateway runs", "it serves this state_dir");
	}
	supervisor->wakeup = wakeup_open(&supervisor->loop, state_dir, -1, pass_tap_on, supervisor);
	return supervisor->wakeup ||
	       fail("cannot make the wake-up socket in the state_dir", strerror(errno));
}

/* One socket for each worker, so that the kernel spreads the connections; from a UNIX socket all of
 * them accept. */
static bool open_sockets(struct supervisor *supervisor)
{
	const struct inheritance *inheritance = supervisor->inheritance;
	bool is_unix = listen_socket_path(supervisor->config) != NULL;

	for (size_t i = 0; i < supervisor->count; i++) {
		int *fd = &supervisor->workers[i].listen_fd;

		if (i < inheritance->listen_count)
			*fd = inheritance->listen_fds[i];
		else if (is_unix && i > 0)
			*fd = fcntl(supervisor->workers[0].listen_fd, F_DUPFD_CLOEXEC, 0);
		else
			*fd = listen_socket_open(supervisor->config, i == 0);
		if (*fd < 0) /* of a new one the door has said why */
			return is_unix && i > 0 ? fail("cannot listen", strerror(errno)) : false;
		supervisor->is_listening = true;
	}
	for (size_t i = supervisor->count; i < inheritance->listen_count; i++)
		close(inheritance->listen_fds[i]);
	return true;
}

static bool open_tally(struct supervisor *supervisor)
{
	supervisor->tally =
		tally_new(supervisor->count, limits_raise_descriptors(supervisor->config));
	return supervisor->tally || fail("cannot count connections", strerror(errno));
}

static bool open_pipes(struct supervisor *supervisor)
{
	bool good = pipe2(supervisor->ready_fds, O_CLOEXEC | O_NONBLOCK) == 0;

	for (size_t i = 0; i < supervisor->count && good; i++)
		good = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				  supervisor->workers[i].taps) == 0;
	return good || fail("cannot make sockets for the workers", strerror(errno));
}

int supervisor_run(struct config *config, const struct program_start *start,
		   struct inheritance *inheritance, size_t workers)
{
	struct supervisor *supervisor = xcalloc(1, sizeof(*supervisor));

	*supervisor = (struct supervisor){.config = config,
					  .start = start,
					  .inheritance = inheritance,
					  .count = workers,
					  .reload = reload_new(config),
					  .ready_fds = {-1, -1},
					  .exit_code = EXIT_FAILURE};
	for (size_t i = 0; i < workers; i++)
		supervisor->workers[i] = (struct worker){.listen_fd = -1, .taps = {-1, -1}};
	uv_loop_init(&supervisor->loop);
	if (open_state(supervisor) && open_sockets(supervisor) && open_tally(supervisor) &&
	    open_pipes(supervisor)) {
		supervisor->exit_code = EXIT_SUCCESS;
		log_event(LOG_INFO, "supervising", log_number("pid", getpid()),
			  log_number("workers", (int64_t)workers),
			  log_text("version", WORKER_VERSION));
		watch(supervisor);
		while (!supervisor->is_over) {
			if (turn(supervisor))
				return SUPERVISOR_WORKER;
		}
		log_event(LOG_INFO, "ended");
	}
	int exit_code = supervisor->exit_code;
	close_all(supervisor);
	return exit_code;
}
