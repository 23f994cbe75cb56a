/*
 * The parent of several gateway processes, see supervisor.h. State: the workers, and what they and
 *a successor inherit. Never blocks once it runs. A worker that dies is started again, later and
 *later while it does not come up; when it never does, the parent ends.
 *
 *	SIGTERM		the workers drain, then the parent ends
 *	SIGINT		the same at once
 *	SIGHUP		the workers read the configuration again
 *	SIGUSR2		a successor is started; when it serves, the workers drain
 */
#include "gateway/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/gateway.h"
#include "gateway/limits.h"
#include "gateway/listen_socket.h"
#include "gateway/tally.h"
#include "gateway/wakeup.h"
#include "shared/alloc.h"
#include "shared/liveness.h"
#include "shared/log.h"
#include "shared/options.h"
#include "shared/service_manager.h"
#include "shared/state_dir.h"
#include "shared/version.h"

enum {
	FIRST_WAIT_MS = 100, /* before a worker is started again */
	LONGEST_WAIT_MS = 5000,
	MOST_FAILURES = 6 /* in a row, of a worker that never served */
};

struct supervisor;

struct worker {
	struct supervisor *owner;
	struct child *child; /* NULL: it does not run */
	uv_timer_t restart;
	int number;
	int taps[2]; /* the parent's end and the worker's */
	int failures; /* starts in a row that came to nothing */
	bool has_served;
};

struct supervisor {
	uv_loop_t loop;
	struct config *config;
	char **argv;
	struct liveness *liveness;
	struct wakeup *wakeup;
	struct tally *tally;
	int tally_fd;
	struct child *successor;
	uv_signal_t signals[4];
	struct worker *workers;
	size_t worker_count;
	size_t ready_count; /* workers that have served, for the parent of this one */
	int listen_fds[CHILD_MAX_LISTEN];
	struct inheritance inheritance;
	bool is_ending;
	int exit_code;
};

size_t supervisor_workers(const struct config *config, const struct inheritance *inheritance)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t wanted = config->gateway_processes;

	if (inheritance->worker > 0)
		return 1;
	if (wanted == CONFIG_PROCESSES_AUTO)
		wanted = cores > 0 ? cores : 1;
	return wanted < CHILD_MAX_LISTEN ? (size_t)wanted : CHILD_MAX_LISTEN;
}

static void signal_workers(struct supervisor *supervisor, int number)
{
	for (size_t i = 0; i < supervisor->worker_count; i++)
		if (supervisor->workers[i].child)
			child_signal(supervisor->workers[i].child, number);
}

static void end_when_alone(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->worker_count; i++)
		if (supervisor->workers[i].child)
			return;
	uv_stop(&supervisor->loop);
}

static void begin_to_end(struct supervisor *supervisor, int number)
{
	supervisor->is_ending = true;
	for (size_t i = 0; i < supervisor->worker_count; i++)
		uv_timer_stop(&supervisor->workers[i].restart);
	signal_workers(supervisor, number);
	end_when_alone(supervisor);
}

static void on_worker_ready(void *context, bool serves)
{
	struct worker *worker = context;
	struct supervisor *supervisor = worker->owner;

	if (!serves)
		return; /* on_worker_ended tells the rest */
	worker->failures = 0;
	supervisor->ready_count += !worker->has_served;
	worker->has_served = true;
	if (supervisor->ready_count != supervisor->worker_count)
		return;
	inheritance_ready(&supervisor->inheritance);
	service_manager_ready();
}

static void start_worker(struct worker *worker);

static void on_restart(uv_timer_t *timer)
{
	start_worker(timer->data);
}

static void start_later(struct worker *worker)
{
	struct supervisor *supervisor = worker->owner;
	int64_t wait_ms = FIRST_WAIT_MS << worker->failures;

	if (!worker->has_served && worker->failures >= MOST_FAILURES) {
		log_event(LOG_ERROR, "a worker does not come up, giving up",
			  log_number("worker", worker->number));
		supervisor->exit_code = EXIT_FAILURE;
		begin_to_end(supervisor, SIGTERM);
		return;
	}
	if (worker->failures < MOST_FAILURES)
		worker->failures++;
	uv_timer_start(&worker->restart, on_restart,
		       (uint64_t)(wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS), 0);
}

static void on_worker_ended(void *context)
{
	struct worker *worker = context;

	child_free(worker->child);
	worker->child = NULL;
	tally_forget(worker->owner->tally, (size_t)worker->number);
	if (worker->owner->is_ending)
		end_when_alone(worker->owner);
	else
		start_later(worker);
}

static void start_worker(struct worker *worker)
{
	struct supervisor *supervisor = worker->owner;
	struct child_options options = {
		.loop = &supervisor->loop,
		.argv = supervisor->argv,
		.config = supervisor->config,
		.worker = worker->number,
		.service_fd = liveness_service_fd(supervisor->liveness),
		.wakeup_fd = worker->taps[1],
		.tally_fd = supervisor->tally_fd,
		.workers = supervisor->worker_count,
		.listen_fds = &supervisor->listen_fds[worker->number - 1],
		.listen_count = 1,
		.ready = on_worker_ready,
		.ended = on_worker_ended,
		.context = worker,
	};

	worker->child = child_start(&options);
	if (!worker->child)
		start_later(worker);
}

/* A wakeup_look: there is nothing to look at here, the workers look. */
static bool tap_workers(void *context)
{
	struct supervisor *supervisor = context;

	for (size_t i = 0; i < supervisor->worker_count; i++)
		send(supervisor->workers[i].taps[0], "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	return false;
}

static void on_successor(void *context, bool serves)
{
	struct supervisor *supervisor = context;

	if (!serves) {
		log_event(LOG_ERROR, "the successor did not start");
		child_free(supervisor->successor);
		supervisor->successor = NULL;
	} else if (!supervisor->is_ending) {
		wakeup_hand_over(supervisor->wakeup);
		begin_to_end(supervisor, SIGTERM);
	}
}

static void start_successor(struct supervisor *supervisor)
{
	struct child_options options = {
		.loop = &supervisor->loop,
		.argv = supervisor->argv,
		.config = supervisor->config,
		.service_fd = liveness_service_fd(supervisor->liveness),
		.wakeup_fd = -1,
		.tally_fd = -1,
		.listen_fds = supervisor->listen_fds,
		.listen_count = supervisor->worker_count,
		.ready = on_successor,
		.context = supervisor,
	};

	if (!supervisor->is_ending && !supervisor->successor)
		supervisor->successor = child_start(&options);
}

static void on_signal(uv_signal_t *watcher, int number)
{
	struct supervisor *supervisor = watcher->data;

	if (number == SIGUSR2)
		start_successor(supervisor);
	else if (number == SIGHUP)
		signal_workers(supervisor, SIGHUP);
	else
		begin_to_end(supervisor, number);
}

static bool fail(const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("why", why));
	return false;
}

/* One socket for each worker, so that the kernel spreads the connections; a UNIX socket is one that
 * all accept from. */
static bool open_sockets(struct supervisor *supervisor)
{
	const struct inheritance *inheritance = &supervisor->inheritance;
	bool is_unix = listen_socket_path(supervisor->config) != NULL;
	char address[LISTEN_ADDRESS_SIZE] = "";

	for (size_t i = 0; i < supervisor->worker_count; i++) {
		if (i < inheritance->listen_count)
			supervisor->listen_fds[i] = inheritance->listen_fds[i];
		else if (is_unix && i > 0)
			supervisor->listen_fds[i] = dup(supervisor->listen_fds[0]);
		else
			supervisor->listen_fds[i] =
				listen_socket_open(supervisor->config, true, address);
		if (supervisor->listen_fds[i] < 0)
			return fail("cannot listen", strerror(errno));
	}
	for (size_t i = supervisor->worker_count; i < inheritance->listen_count; i++)
		close(inheritance->listen_fds[i]);
	return true;
}

static bool open_state(struct supervisor *supervisor)
{
	const char *state_dir = supervisor->config->state_dir;
	int service_fd = supervisor->inheritance.service_fd;
	char why[256];

	if (!state_dir_prepare(state_dir, why, sizeof(why)))
		return fail("no state_dir", why);
	supervisor->liveness = liveness_open(state_dir);
	if (!supervisor->liveness)
		return fail("cannot open gateway.lock", strerror(errno));
	if (!(service_fd >= 0 ? liveness_inherit_service(supervisor->liveness, service_fd)
			      : liveness_claim_service(supervisor->liveness))) {
		supervisor->exit_code = EXIT_TEMPORARY;
		return fail("another gateway runs", "it serves this state_dir");
	}
	supervisor->wakeup = wakeup_open(&supervisor->loop, state_dir, tap_workers, supervisor);
	return supervisor->wakeup ||
	       fail("cannot make the wake-up socket in the state_dir", strerror(errno));
}

static void watch_signals(struct supervisor *supervisor)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uv_signal_init(&supervisor->loop, &supervisor->signals[i]);
		supervisor->signals[i].data = supervisor;
		uv_signal_start(&supervisor->signals[i], on_signal, numbers[i]);
	}
}

static bool make_tally(struct supervisor *supervisor)
{
	struct rlimit descriptors = {.rlim_max = 0};

	getrlimit(RLIMIT_NOFILE, &descriptors);
	size_t wanted = limits_descriptors(supervisor->config);
	size_t most = descriptors.rlim_max < wanted ? (size_t)descriptors.rlim_max : wanted;
	supervisor->tally_fd = tally_share(supervisor->worker_count, most);
	if (supervisor->tally_fd >= 0)
		supervisor->tally = tally_join(supervisor->tally_fd, 0);
	return supervisor->tally || fail("cannot share the tally", strerror(errno));
}

static bool make_workers(struct supervisor *supervisor)
{
	supervisor->workers = xcalloc(supervisor->worker_count, sizeof(struct worker));
	for (size_t i = 0; i < supervisor->worker_count; i++) {
		struct worker *worker = &supervisor->workers[i];

		worker->owner = supervisor;
		worker->number = (int)i + 1;
		uv_timer_init(&supervisor->loop, &worker->restart);
		worker->restart.data = worker;
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			       worker->taps) != 0)
			return fail("cannot make sockets for the workers", strerror(errno));
	}
	return true;
}

static void close_all(struct supervisor *supervisor)
{
	bool is_replaced = supervisor->successor != NULL;

	wakeup_close(supervisor->wakeup);
	child_free(supervisor->successor);
	for (size_t i = 0; supervisor->workers && i < supervisor->worker_count; i++) {
		uv_close((uv_handle_t *)&supervisor->workers[i].restart, NULL);
		close(supervisor->workers[i].taps[0]);
		close(supervisor->workers[i].taps[1]);
		close(supervisor->listen_fds[i]);
	}
	for (size_t i = 0; i < sizeof(supervisor->signals) / sizeof(supervisor->signals[0]); i++)
		uv_close((uv_handle_t *)&supervisor->signals[i], NULL);
	if (!is_replaced && listen_socket_path(supervisor->config))
		unlink(listen_socket_path(supervisor->config));
	tally_free(supervisor->tally);
	if (supervisor->tally_fd >= 0)
		close(supervisor->tally_fd);
	liveness_close(supervisor->liveness);
	uv_run(&supervisor->loop, UV_RUN_DEFAULT);
	uv_loop_close(&supervisor->loop);
	free(supervisor->workers);
}

int supervisor_run(struct config *config, char **argv, const struct inheritance *inheritance,
		   size_t workers)
{
	struct supervisor supervisor = {
		.config = config,
		.argv = argv,
		.inheritance = *inheritance,
		.worker_count = workers,
		.tally_fd = -1,
		.exit_code = EXIT_FAILURE,
	};

	uv_loop_init(&supervisor.loop);
	watch_signals(&supervisor);
	gateway_hold_signals(false);
	if (open_state(&supervisor) && open_sockets(&supervisor) && make_tally(&supervisor) &&
	    make_workers(&supervisor)) {
		supervisor.exit_code = EXIT_SUCCESS;
		for (size_t i = 0; i < workers; i++)
			start_worker(&supervisor.workers[i]);
		log_event(LOG_INFO, "supervising", log_number("pid", getpid()),
			  log_number("workers", (int64_t)workers),
			  log_text("version", WORKER_VERSION));
		uv_run(&supervisor.loop, UV_RUN_DEFAULT);
		log_event(LOG_INFO, "ended");
	}
	close_all(&supervisor);
	return supervisor.exit_code;
}
