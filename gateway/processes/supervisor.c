/*
 * The parent of several gateway processes, see supervisor.h. State: what workers and a successor
 * inherit. Never blocks once it runs.
 *
 *	SIGTERM		the workers drain, then the parent ends
 *	SIGINT		the same at once, as a second SIGTERM does
 *	SIGHUP		the workers read the configuration again
 *	SIGUSR2		a successor is started; when it serves, the workers drain
 */
#include "gateway/processes/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/gateway.h"
#include "gateway/door/limits.h"
#include "gateway/door/listener.h"
#include "gateway/presence/tally.h"
#include "gateway/events/wakeup.h"
#include "gateway/processes/workers.h"
#include "shared/database/liveness.h"
#include "shared/base/log.h"
#include "shared/config/options.h"
#include "shared/base/service_manager.h"
#include "shared/database/state_dir.h"
#include "shared/base/version.h"

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
enum { SIGNALS = sizeof(signal_numbers) / sizeof(signal_numbers[0]) };

struct supervisor {
	uv_loop_t loop;
	struct config *config;
	char **argv;
	struct liveness *liveness;
	struct wakeup *wakeup;
	struct tally *tally;
	int tally_fd;
	struct workers *workers;
	size_t worker_count;
	struct child *successor;
	uv_signal_t signals[SIGNALS];
	int listen_fds[CHILD_MAX_LISTEN];
	size_t listen_count; /* that are open */
	struct inheritance inheritance;
	bool is_ending, is_replaced;
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

static void close_sockets(struct supervisor *supervisor)
{
	const char *path = listen_socket_path(supervisor->config);

	if (path && supervisor->listen_count > 0 && !supervisor->is_replaced)
		unlink(path);
	for (size_t i = 0; i < supervisor->listen_count; i++)
		close(supervisor->listen_fds[i]);
	supervisor->listen_count = 0;
}

/* Sockets that nobody accepts from any more are closed at once: who comes to them now is refused,
 * or goes to a successor's, instead of waiting in a queue until the drain is over. A successor that
 * is only starting is yet to accept from them. */
static void begin_to_end(struct supervisor *supervisor, int number)
{
	supervisor->is_ending = true;
	if (!supervisor->successor || supervisor->is_replaced)
		close_sockets(supervisor);
	workers_end(supervisor->workers, number);
}

static void on_all_serve(void *context)
{
	struct supervisor *supervisor = context;

	inheritance_ready(&supervisor->inheritance);
	service_manager_ready();
}

static void on_give_up(void *context)
{
	struct supervisor *supervisor = context;

	supervisor->exit_code = EXIT_FAILURE;
	begin_to_end(supervisor, SIGTERM);
}

static void on_all_ended(void *context)
{
	struct supervisor *supervisor = context;

	uv_stop(&supervisor->loop);
}

/* A wakeup_look: there is nothing to look at here, the workers look. */
static bool pass_tap_on(void *context)
{
	struct supervisor *supervisor = context;

	workers_tap(supervisor->workers);
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
		supervisor->is_replaced = true;
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
		.listen_count = supervisor->listen_count,
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
		workers_signal(supervisor->workers, SIGHUP);
	else
		begin_to_end(supervisor, supervisor->is_ending ? SIGINT : number);
}

static bool fail(const char *what, const char *why)
{
	log_event(LOG_ERROR, what, log_text("why", why));
	return false;
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
	supervisor->wakeup = wakeup_open(&supervisor->loop, state_dir, pass_tap_on, supervisor);
	return supervisor->wakeup ||
	       fail("cannot make the wake-up socket in the state_dir", strerror(errno));
}

/* One socket for each worker, so that the kernel spreads the connections; a UNIX socket is one that
 * all accept from. */
static bool open_sockets(struct supervisor *supervisor)
{
	const struct inheritance *inheritance = &supervisor->inheritance;
	bool is_unix = listen_socket_path(supervisor->config) != NULL;
	char address[LISTEN_ADDRESS_SIZE] = "";

	for (size_t i = 0; i < supervisor->worker_count; i++) {
		int fd;

		if (i < inheritance->listen_count)
			fd = inheritance->listen_fds[i];
		else if (is_unix && i > 0)
			fd = dup(supervisor->listen_fds[0]);
		else
			fd = listen_socket_open(supervisor->config, i == 0, address);
		if (fd < 0)
			return fail("cannot listen", strerror(errno));
		supervisor->listen_fds[supervisor->listen_count++] = fd;
	}
	for (size_t i = supervisor->worker_count; i < inheritance->listen_count; i++)
		close(inheritance->listen_fds[i]);
	return true;
}

static bool open_tally(struct supervisor *supervisor)
{
	struct rlimit descriptors = {.rlim_max = 0};
	const char *why = NULL;

	getrlimit(RLIMIT_NOFILE, &descriptors);
	size_t wanted = limits_descriptors(supervisor->config);
	size_t most = descriptors.rlim_max < wanted ? (size_t)descriptors.rlim_max : wanted;
	supervisor->tally_fd = tally_share(supervisor->worker_count, most);
	if (supervisor->tally_fd >= 0)
		supervisor->tally = tally_join(supervisor->tally_fd, 0, &why);
	return supervisor->tally || fail("cannot count connections", why ? why : strerror(errno));
}

static bool start_workers(struct supervisor *supervisor)
{
	struct workers_options options = {
		.loop = &supervisor->loop,
		.argv = supervisor->argv,
		.config = supervisor->config,
		.service_fd = liveness_service_fd(supervisor->liveness),
		.tally_fd = supervisor->tally_fd,
		.tally = supervisor->tally,
		.listen_fds = supervisor->listen_fds,
		.count = supervisor->worker_count,
		.all_serve = on_all_serve,
		.give_up = on_give_up,
		.all_ended = on_all_ended,
		.context = supervisor,
	};

	supervisor->workers = workers_start(&options);
	return supervisor->workers || fail("cannot make sockets for the workers", strerror(errno));
}

static void serve(struct supervisor *supervisor)
{
	supervisor->exit_code = EXIT_SUCCESS;
	for (size_t i = 0; i < SIGNALS; i++) {
		uv_signal_init(&supervisor->loop, &supervisor->signals[i]);
		supervisor->signals[i].data = supervisor;
		uv_signal_start(&supervisor->signals[i], on_signal, signal_numbers[i]);
	}
	gateway_hold_signals(false);
	log_event(LOG_INFO, "supervising", log_number("pid", getpid()),
		  log_number("workers", (int64_t)supervisor->worker_count),
		  log_text("version", WORKER_VERSION));
	uv_run(&supervisor->loop, UV_RUN_DEFAULT);
	gateway_hold_signals(true);
	for (size_t i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&supervisor->signals[i], NULL);
	log_event(LOG_INFO, "ended");
}

static void close_all(struct supervisor *supervisor)
{
	child_free(supervisor->successor);
	workers_free(supervisor->workers);
	tally_free(supervisor->tally);
	if (supervisor->tally_fd >= 0)
		close(supervisor->tally_fd);
	close_sockets(supervisor);
	wakeup_close(supervisor->wakeup);
	liveness_close(supervisor->liveness);
	uv_run(&supervisor->loop, UV_RUN_DEFAULT);
	uv_loop_close(&supervisor->loop);
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
	if (open_state(&supervisor) && open_sockets(&supervisor) && open_tally(&supervisor) &&
	    start_workers(&supervisor))
		serve(&supervisor);
	close_all(&supervisor);
	return supervisor.exit_code;
}
