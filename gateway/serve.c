/*
 * Serving, and ending: see gateway.h. State: timers, signals and the drain, on the stack of
 * gateway_run. Never blocks.
 *
 *	SIGTERM		drain: accept nobody new, send the clients away over `drain`, end
 *	SIGUSR2		start a successor; when it serves, drain (a worker leaves that to its
 *			parent, processes/supervisor.c)
 *	SIGHUP		read the configuration again
 *	SIGINT		end at once, as a second SIGTERM does; not in a worker: a service manager
 *			sends SIGTERM to all processes, and then the parent passes its own on
 */
#include "gateway/gateway.h"

#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/client/deadlines.h"
#include "gateway/door/listener.h"
#include "gateway/door/upgrade.h"
#include "gateway/events/wakeup.h"
#include "gateway/processes/successor.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/signals.h"
#include "shared/base/version.h"
#include "shared/config/reload.h"

enum {
	BEAT_MS = 1000,
	CLOCK_STEP_MS = 500,
	GOODBYE_MS = 500 /* for the clients to take their close frames */
};

struct serving {
	struct gateway *gateway;
	uv_timer_t tick, beat;
	uv_poll_t signals;
	struct successor *successor; /* one that is starting, or has taken over */
	int64_t clock_offset_ms; /* from the monotonic clock to the wall clock */
	bool is_draining;
	int64_t drain_start_ms;
	size_t drain_total; /* connections at its start */
};

static bool is_worker(const struct gateway *gateway)
{
	return gateway->inheritance->worker > 0;
}

/* The socket goes on listening when other processes have it too. */
static void stop_accepting(struct gateway *gateway, bool is_replaced)
{
	listen_file_release(&gateway->listen_file, is_replaced);
	if (is_replaced)
		inheritance_hand_over(gateway->inheritance);
	if (is_replaced || is_worker(gateway)) {
		listener_leave(gateway->listener);
		wakeup_hand_over(gateway->wakeup);
		cluster_drain(gateway->cluster);
	} else {
		listener_close(gateway->listener);
	}
	gateway->listener = NULL;
}

static void begin_drain(struct serving *serving, bool is_replaced)
{
	struct gateway *gateway = serving->gateway;

	log_event(LOG_INFO, "draining",
		  log_number("connections", (int64_t)clients_count(gateway->clients)),
		  log_text("successor", is_replaced ? "yes" : "no"));
	stop_accepting(gateway, is_replaced);
	serving->is_draining = true;
	serving->drain_start_ms = clock_monotonic_ms();
	serving->drain_total = clients_count(gateway->clients);
}

/* The number of clients that may be left falls in a straight line from all to none. */
static void drain_step(struct serving *serving)
{
	struct gateway *gateway = serving->gateway;
	int64_t drain_ms = gateway->config->drain_ms;
	int64_t left_ms = serving->drain_start_ms + drain_ms - clock_monotonic_ms();
	int64_t total = (int64_t)serving->drain_total;

	clients_end_some(gateway->clients,
			 left_ms > 0 ? (size_t)((total * left_ms + drain_ms - 1) / drain_ms) : 0);
	if (left_ms < -GOODBYE_MS || (!clients_count(gateway->clients) &&
				      (left_ms <= 0 || !upgrades_pending(gateway->upgrades))))
		uv_stop(gateway->loop);
}

static void on_tick(uv_timer_t *timer)
{
	struct serving *serving = timer->data;
	struct gateway *gateway = serving->gateway;
	int64_t offset_ms = clock_wall_ms() - clock_monotonic_ms();
	int64_t step_ms = offset_ms - serving->clock_offset_ms;

	/* Tokens expire by the wall clock, deadlines run on the monotonic one: when the former is
	 * set, whatever was worked out from it is worked out again. */
	if (step_ms <= -CLOCK_STEP_MS || step_ms >= CLOCK_STEP_MS) {
		serving->clock_offset_ms = offset_ms;
		log_event(LOG_WARN, "the clock was set", log_number("by_ms", step_ms));
		clients_reschedule(gateway->clients);
	}
	clients_on_tick(gateway->clients);
	upgrades_on_tick(gateway->upgrades);
	if (gateway->listener) {
		listener_replace(gateway->listener, wakeup_take_fd(gateway->wakeup));
		listener_on_tick(gateway->listener);
	}
	if (serving->is_draining)
		drain_step(serving);
}

static void on_successor(void *context)
{
	struct serving *serving = context;

	if (successor_settle(&serving->successor) && serving->gateway->listener)
		begin_drain(serving, true);
}

static void on_beat(uv_timer_t *timer)
{
	struct serving *serving = timer->data;
	struct gateway *gateway = serving->gateway;

	if (liveness_look_after(gateway->liveness))
		presence_write_again(gateway->presence);
	liveness_beat(gateway->liveness);
	if (gateway->listener && !serving->successor) {
		/* False: we were slow to notice that the directory had gone. */
		if (!inheritance_keep(gateway->inheritance, gateway->config))
			uv_stop(gateway->loop);
		else if (!is_worker(gateway) &&
			 tally_is_idle(gateway->tally, gateway->config->gateway_idle_exit_ms))
			begin_drain(serving, false);
	}
	presence_beat(gateway->presence, &gateway->counters, clients_outbox_bytes(gateway->clients),
		      housekeeping_limits_of(gateway->config));
	if (gateway->listener && !serving->successor)
		listener_replace(gateway->listener,
				 listen_file_look(&gateway->listen_file, gateway->config));
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	struct serving *serving = poll->data;
	struct gateway *gateway = serving->gateway;
	int number = signals_next(gateway->inheritance->signals_fd);
	bool may_start = gateway->listener && !serving->successor && !is_worker(gateway);

	(void)status;
	(void)events;
	if (number == SIGCHLD) {
		successor_reap(serving->successor);
	} else if (number == SIGUSR2 && may_start) {
		listener_replace(gateway->listener,
				 listen_file_look(&gateway->listen_file, gateway->config));
		serving->successor =
			successor_start(gateway->loop, gateway->inheritance, gateway->config,
					HANDED_DOWN_LIMIT_MS, on_successor, serving);
	} else if (number == SIGHUP && reload_now(gateway->config)) {
		clients_configure(gateway->clients);
		cluster_configure(gateway->cluster, gateway->config);
	} else if (number == SIGINT ||
		   (number == SIGTERM && serving->is_draining && !is_worker(gateway))) {
		uv_stop(gateway->loop);
	} else if (number == SIGTERM && gateway->listener) { /* neither draining nor ending */
		begin_drain(serving, successor_settle(&serving->successor));
	}
}

int gateway_run(struct gateway *gateway)
{
	struct serving serving = {
		.gateway = gateway,
		.clock_offset_ms = clock_wall_ms() - clock_monotonic_ms(),
	};

	uv_timer_init(gateway->loop, &serving.tick);
	uv_timer_init(gateway->loop, &serving.beat);
	uv_poll_init(gateway->loop, &serving.signals, gateway->inheritance->signals_fd);
	serving.tick.data = serving.beat.data = serving.signals.data = &serving;
	uv_timer_start(&serving.tick, on_tick, DEADLINES_TICK_MS, DEADLINES_TICK_MS);
	uv_timer_start(&serving.beat, on_beat, BEAT_MS, BEAT_MS);
	uv_poll_start(&serving.signals, UV_READABLE, on_signal);
	log_event(LOG_INFO, "listening", log_text("address", listener_address(gateway->listener)),
		  log_number("pid", getpid()), log_text("version", WORKER_VERSION));
	inheritance_ready(gateway->inheritance, gateway->liveness);
	uv_run(gateway->loop, UV_RUN_DEFAULT);

	log_event(LOG_INFO, "ending",
		  log_number("connections", (int64_t)clients_count(gateway->clients)));
	/* Clients get their close frame; those that do not take it in time are dropped. Nobody
	 * becomes a client any more. */
	int64_t give_up_ms = clock_monotonic_ms() + (serving.is_draining ? 0 : GOODBYE_MS);
	if (gateway->listener)
		stop_accepting(gateway, successor_settle(&serving.successor));
	upgrades_end_all(gateway->upgrades);
	clients_end_all(gateway->clients, false);
	while (clients_count(gateway->clients) > 0) {
		if (clock_monotonic_ms() >= give_up_ms)
			clients_end_all(gateway->clients, true);
		uv_run(gateway->loop, UV_RUN_ONCE);
	}
	successor_free(serving.successor);
	uv_close((uv_handle_t *)&serving.signals, NULL);
	uv_close((uv_handle_t *)&serving.tick, NULL);
	uv_close((uv_handle_t *)&serving.beat, NULL);
	uv_run(gateway->loop, UV_RUN_NOWAIT); /* the handles are on a stack */
	return EXIT_SUCCESS;
}
