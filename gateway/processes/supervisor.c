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
#include <unistd.h>
#include <uv.h>

#include "gateway/door/limits.h"
#include "gateway/door/listener.h"
#include "gateway/events/wakeup.h"
#include "gateway/presence/tally.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/signals.h"
#include "shared/base/unix_socket.h"
#include "shared/base/version.h"
#include "shared/config/reload.h"

enum {
	MOST_WORKERS = SUCCESSOR_MAX_LISTEN, /* each has a socket */
	FIRST_WAIT_MS = 100, /* before a worker is started again; then twice as long, and so on */
	LOOK_MS = 1000,
	MOST_FAILURES =
		6 /* in a row: then the wait grows no longer; one that never served ends all */
};

struct worker {
	pid_t pid; /* 0: it does not run */
	int taps[2]; /* the parent's end and the worker's */
	bool needs_socket; /* a new listening one */
	int failures; /* starts in a row that came to nothing */
	bool has_served;
	int64_t start_ms; /* when to start it */
};

struct supervisor {
	uv_loop_t loop;
	struct config *config;
	struct inheritance *inheritance;
	struct liveness *liveness;
	struct wakeup *wakeup;
	struct tally *tally;
	struct listen_file listen_file;
	uv_poll_t signals, ready;
	uv_timer_t start_timer; /* ends a turn of the loop when a worker is due */
	int ready_fds[2]; /* a pipe, on which each worker says that it is serving */
	struct successor *successor;
	bool is_ending, is_replaced;
	int exit_code;
	int64_t looked_ms; /* at the state_dir, monotonic */
	size_t have_served;
	size_t count;
	struct worker workers[MOST_WORKERS]; /* number n is workers[n - 1] */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_sockets(struct supervisor *supervisor)
{
	struct inheritance *inheritance = supervisor->inheritance;

	listen_file_release(&supervisor->listen_file,
			    supervisor->is_replaced || inheritance->ready_fd >= 0);
	while (inheritance->listen_count > 0)
		close(inheritance->listen_fds[--inheritance->listen_count]);
}

/* Returns how many are running. */
static size_t signal_workers(struct supervisor *supervisor, int number)
{
	size_t running = 0;

	for (size_t i = 0; i < supervisor->count; i++)
		running += supervisor->workers[i].pid > 0 &&
			   kill(supervisor->workers[i].pid, number) == 0;
	return running;
}

/* Sockets from which nobody accepts any more are closed at once: a newcomer is refused, or goes to
 * a successor's, instead of waiting in a queue until the drain is over. A successor that is not
 * serving yet ends with us: until it is, we are the service that was told to end. */
static void begin_to_end(struct supervisor *supervisor, int number)
{
	if (successor_serves(supervisor->successor)) {
		supervisor->is_replaced = true;
		wakeup_hand_over(supervisor->wakeup);
		inheritance_hand_over(supervisor->inheritance);
	}
	successor_free(supervisor->successor);
	supervisor->successor = NULL;
	supervisor->is_ending = true;
	close_sockets(supervisor);
	signal_workers(supervisor, number);
}

static void on_successor(void *context)
{
	struct supervisor *supervisor = context;

	if (successor_settle(&supervisor->successor))
		begin_to_end(supervisor, SIGTERM);
}

/* When nobody can reach the listening socket any more, the workers go on with a new one. */
static void look_after_socket(struct supervisor *supervisor)
{
	int *fds = supervisor->inheritance->listen_fds, fd;

	if (supervisor->is_ending || supervisor->successor)
		return;
	fd = listen_file_look(&supervisor->listen_file, supervisor->config);
	for (size_t i = 0; i < supervisor->count; i++) {
		struct worker *worker = &supervisor->workers[i];

		if (fd >= 0)
			worker->needs_socket = dup3(fd, fds[i], O_CLOEXEC) >= 0;
		if (worker->needs_socket && unix_send_fd(worker->taps[0], fds[i]))
			worker->needs_socket = false;
	}
	close_fd(&fd);
}

/* A wakeup_look: there are no events to look at here; the workers look. */
static int pass_tap_on(void *context)
{
	struct supervisor *supervisor = context;
	int64_t now_ms = clock_monotonic_ms();

	if (!supervisor->is_ending && now_ms - supervisor->looked_ms >= LOOK_MS) {
		supervisor->looked_ms = now_ms;
		look_after_socket(supervisor);
		liveness_look_after(supervisor->liveness);
		if (!supervisor->successor &&
		    (!inheritance_keep(supervisor->inheritance, supervisor->config) ||
		     tally_is_idle(supervisor->tally, supervisor->config->gateway_idle_exit_ms)))
			begin_to_end(supervisor, SIGTERM);
	}
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
		if (++supervisor->have_served == supervisor->count)
			inheritance_ready(supervisor->inheritance, supervisor->liveness);
	}
}

static void start_later(struct supervisor *supervisor, struct worker *worker)
{
	if (!worker->has_served && worker->failures >= MOST_FAILURES) {
		log_event(LOG_ERROR, "a worker does not come up, giving up",
			  log_number("worker", worker - supervisor->workers + 1));
		supervisor->exit_code = EXIT_FAILURE;
		begin_to_end(supervisor, SIGTERM);
		return;
	}
	worker->start_ms = clock_monotonic_ms() + (FIRST_WAIT_MS << worker->failures);
	worker->failures += worker->failures < MOST_FAILURES;
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	struct supervisor *supervisor = poll->data;
	int number = signals_next(supervisor->inheritance->signals_fd);

	(void)status;
	(void)events;
	if (number == SIGCHLD)
		successor_reap(supervisor->successor);
	for (size_t i = 0; i < supervisor->count && number == SIGCHLD; i++)
		if (child_reap(&supervisor->workers[i].pid, LOG_WARN, "a worker has ended")) {
			tally_forget(supervisor->tally, i + 1);
			if (!supervisor->is_ending)
				start_later(supervisor, &supervisor->workers[i]);
		}
	if (number == SIGUSR2 && !supervisor->is_ending && !supervisor->successor) {
		look_after_socket(supervisor);
		supervisor->successor = successor_start(&supervisor->loop, supervisor->inheritance,
							supervisor->config, HANDED_DOWN_LIMIT_MS,
							on_successor, supervisor);
	} else if (number == SIGTERM || number == SIGINT)
		begin_to_end(supervisor, supervisor->is_ending ? SIGINT : number);
	else if (number == SIGHUP && reload_now(supervisor->config))
		signal_workers(supervisor, SIGHUP);
}

static void close_all(struct supervisor *supervisor)
{
	if (supervisor->ready.data) {
		uv_close((uv_handle_t *)&supervisor->start_timer, NULL);
		uv_close((uv_handle_t *)&supervisor->signals, NULL);
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
	uv_run(&supervisor->loop, UV_RUN_DEFAULT);
	uv_loop_close(&supervisor->loop);
	free(supervisor);
}

/* In the fork: keeps what this worker uses, and closes everything else of the parent's, the right
 * to serve too: if the parent goes, the worker ends at once, for then nobody holds the service
 * together, and the next gateway need not wait for that. */
static void become_worker(struct supervisor *supervisor, size_t number, pid_t parent)
{
	struct inheritance *mine = supervisor->inheritance;
	int *tap = &supervisor->workers[number - 1].taps[1];
	int listen_fd = mine->listen_fds[number - 1];

	prctl(PR_SET_NAME, "gateway-worker");
	prctl(PR_SET_PDEATHSIG, SIGINT);
	if (getppid() != parent)
		raise(SIGINT);
	close_fd(&mine->ready_fd);
	close_fd(&mine->service_fd);
	mine->worker = (int)number;
	mine->workers = supervisor->count;
	mine->ready_fd = supervisor->ready_fds[1];
	mine->wakeup_fd = *tap;
	mine->tally = supervisor->tally;
	mine->listen_fds[number - 1] = mine->listen_fds[--mine->listen_count];
	supervisor->ready_fds[1] = *tap = -1;
	supervisor->tally = NULL;
	uv_loop_fork(&supervisor->loop);
	successor_forget(supervisor->successor);
	supervisor->successor = NULL;
	supervisor->is_replaced = true; /* the files of the sockets stay */
	wakeup_hand_over(supervisor->wakeup);
	close_all(supervisor);
	mine->listen_fds[0] = listen_fd;
	mine->listen_count = 1;
}

static void wake(uv_timer_t *timer)
{
	(void)timer;
}

/* Starts the workers that are due, and sees to it that the loop wakes up for the next one. Not
 * called during a turn of the loop, because a fork must leave it. True in the fork. */
static bool start_workers(struct supervisor *supervisor)
{
	int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;
	pid_t parent = getpid();

	for (size_t i = 0; i < supervisor->count && !supervisor->is_ending; i++) {
		struct worker *worker = &supervisor->workers[i];

		if (worker->pid > 0)
			continue;
		if (worker->start_ms <= now_ms) {
			worker->pid = fork();
			if (worker->pid == 0) {
				become_worker(supervisor, i + 1, parent);
				return true;
			}
			if (worker->pid > 0)
				continue;
			log_event(LOG_ERROR, "cannot start a worker",
				  log_text("why", strerror(errno)));
			worker->pid = 0;
			start_later(supervisor, worker);
		}
		if (worker->start_ms < next_ms)
			next_ms = worker->start_ms;
	}
	if (next_ms != INT64_MAX)
		uv_timer_start(&supervisor->start_timer, wake,
			       next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 0, 0);
	return false;
}

static bool fail(const char *what)
{
	log_event(LOG_ERROR, what, log_text("why", strerror(errno)));
	return false;
}

static bool open_all(struct supervisor *supervisor)
{
	const struct config *config = supervisor->config;
	struct inheritance *inheritance = supervisor->inheritance;
	int *fds = inheritance->listen_fds;
	size_t *count = &inheritance->listen_count;
	bool good;

	supervisor->liveness = inheritance_claim(inheritance, config, &supervisor->exit_code);
	if (!supervisor->liveness)
		return false;
	/* One socket for each worker, so that the kernel spreads the connections; from a UNIX
	 * socket all of them accept. */
	while (*count > supervisor->count)
		close(fds[--*count]);
	for (; *count < supervisor->count; ++*count) {
		bool is_copy = listen_socket_path(config) && *count > 0;
		fds[*count] = is_copy ? fcntl(fds[0], F_DUPFD_CLOEXEC, 0)
				      : listen_socket_open(config, *count == 0);
		if (fds[*count] < 0) /* of a new one the door has said why */
			return is_copy ? fail("cannot listen") : false;
	}
	listen_file_take(&supervisor->listen_file, config);
	supervisor->wakeup =
		wakeup_open(&supervisor->loop, config->state_dir, -1, pass_tap_on, supervisor);
	if (!supervisor->wakeup)
		return fail("cannot make wakeup.sock");
	supervisor->tally = tally_new(supervisor->count, limits_descriptors(config));
	if (!supervisor->tally)
		return fail("cannot count connections");
	good = pipe2(supervisor->ready_fds, O_CLOEXEC | O_NONBLOCK) == 0;
	for (size_t i = 0; i < supervisor->count && good; i++)
		good = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				  supervisor->workers[i].taps) == 0;
	return good || fail("cannot make sockets for the workers");
}

int supervisor_run(struct config *config, struct inheritance *inheritance)
{
	int64_t count = config->gateway_processes;
	struct supervisor *supervisor;
	cpu_set_t cores;

	if (count == CONFIG_PROCESSES_AUTO)
		count = sched_getaffinity(0, sizeof(cores), &cores) == 0
				? CPU_COUNT(&cores)
				: sysconf(_SC_NPROCESSORS_ONLN);
	count = count < MOST_WORKERS ? count : MOST_WORKERS;
	if (count <= 1)
		return SUPERVISOR_WORKER;
	supervisor = xcalloc(1, sizeof(*supervisor));
	*supervisor = (struct supervisor){.config = config,
					  .inheritance = inheritance,
					  .count = (size_t)count,
					  .ready_fds = {-1, -1}};
	for (size_t i = 0; i < supervisor->count; i++)
		supervisor->workers[i] = (struct worker){.taps = {-1, -1}};
	uv_loop_init(&supervisor->loop);
	if (open_all(supervisor)) {
		supervisor->exit_code = EXIT_SUCCESS;
		log_event(LOG_INFO, "supervising", log_number("pid", getpid()),
			  log_number("workers", count), log_text("version", WORKER_VERSION));
		uv_timer_init(&supervisor->loop, &supervisor->start_timer);
		uv_poll_init(&supervisor->loop, &supervisor->signals, inheritance->signals_fd);
		uv_poll_init(&supervisor->loop, &supervisor->ready, supervisor->ready_fds[0]);
		supervisor->signals.data = supervisor->ready.data = supervisor;
		uv_poll_start(&supervisor->signals, UV_READABLE, on_signal);
		uv_poll_start(&supervisor->ready, UV_READABLE, on_ready);
		while (!supervisor->is_ending || signal_workers(supervisor, 0) > 0) {
			if (start_workers(supervisor))
				return SUPERVISOR_WORKER;
			uv_run(&supervisor->loop, UV_RUN_ONCE);
		}
		log_event(LOG_INFO, "ended");
	}
	int exit_code = supervisor->exit_code;
	close_all(supervisor);
	return exit_code;
}
