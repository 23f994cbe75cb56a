/*
 * The workers of a supervisor, see workers.h. State: for each its process, its wake-up and how its
 * starts went. Never blocks.
 */
#include "gateway/processes/workers.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/processes/child.h"
#include "shared/base/alloc.h"
#include "shared/base/log.h"

enum {
	FIRST_WAIT_MS = 100, /* before a worker is started again */
	LONGEST_WAIT_MS = 5000,
	MOST_FAILURES = 6 /* in a row, of a worker that never served */
};

struct worker {
	struct workers *owner;
	struct child *child; /* NULL: it does not run */
	uv_timer_t restart;
	int number; /* from 1 */
	int taps[2]; /* the parent's end and the worker's */
	int failures; /* starts in a row that came to nothing */
	bool has_served;
};

struct workers {
	struct workers_options options;
	size_t have_served;
	size_t open_handles;
	bool is_ending;
	struct worker each[];
};

void workers_tap(struct workers *workers)
{
	for (size_t i = 0; i < workers->options.count; i++)
		send(workers->each[i].taps[0], "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void workers_signal(struct workers *workers, int number)
{
	for (size_t i = 0; i < workers->options.count; i++)
		if (workers->each[i].child)
			child_signal(workers->each[i].child, number);
}

static void tell_when_alone(struct workers *workers)
{
	for (size_t i = 0; i < workers->options.count; i++)
		if (workers->each[i].child)
			return;
	workers->options.all_ended(workers->options.context);
}

void workers_end(struct workers *workers, int number)
{
	workers->is_ending = true;
	for (size_t i = 0; i < workers->options.count; i++)
		uv_timer_stop(&workers->each[i].restart);
	workers_signal(workers, number);
	tell_when_alone(workers);
}

static void on_ready(void *context, bool serves)
{
	struct worker *worker = context;
	struct workers *workers = worker->owner;

	if (!serves)
		return; /* on_ended tells the rest */
	worker->failures = 0;
	if (worker->has_served)
		return;
	worker->has_served = true;
	if (++workers->have_served == workers->options.count)
		workers->options.all_serve(workers->options.context);
}

static void start(struct worker *worker);

static void on_restart(uv_timer_t *timer)
{
	start(timer->data);
}

static void start_later(struct worker *worker)
{
	struct workers *workers = worker->owner;
	int64_t wait_ms = FIRST_WAIT_MS << worker->failures;

	if (!worker->has_served && worker->failures >= MOST_FAILURES) {
		log_event(LOG_ERROR, "a worker does not come up, giving up",
			  log_number("worker", worker->number));
		workers->options.give_up(workers->options.context);
		return;
	}
	if (worker->failures < MOST_FAILURES)
		worker->failures++;
	uv_timer_start(&worker->restart, on_restart,
		       (uint64_t)(wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS), 0);
}

static void on_ended(void *context)
{
	struct worker *worker = context;
	struct workers *workers = worker->owner;

	child_free(worker->child);
	worker->child = NULL;
	tally_forget(workers->options.tally, (size_t)worker->number);
	if (workers->is_ending)
		tell_when_alone(workers);
	else
		start_later(worker);
}

static void start(struct worker *worker)
{
	const struct workers_options *workers = &worker->owner->options;
	struct child_options options = {
		.loop = workers->loop,
		.argv = workers->argv,
		.config = workers->config,
		.worker = worker->number,
		.workers = workers->count,
		.service_fd = workers->service_fd,
		.wakeup_fd = worker->taps[1],
		.tally_fd = workers->tally_fd,
		.listen_fds = &workers->listen_fds[worker->number - 1],
		.listen_count = 1,
		.ready = on_ready,
		.ended = on_ended,
		.context = worker,
	};

	worker->child = child_start(&options);
	if (!worker->child)
		start_later(worker);
}

struct workers *workers_start(const struct workers_options *options)
{
	struct workers *workers =
		xcalloc(1, sizeof(*workers) + options->count * sizeof(struct worker));

	workers->options = *options;
	for (size_t i = 0; i < options->count; i++) {
		struct worker *worker = &workers->each[i];

		worker->owner = workers;
		worker->number = (int)i + 1;
		worker->taps[0] = worker->taps[1] = -1;
		uv_timer_init(options->loop, &worker->restart);
		worker->restart.data = worker;
		workers->open_handles++;
	}
	for (size_t i = 0; i < options->count; i++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			       workers->each[i].taps) != 0) {
			workers_free(workers);
			return NULL;
		}
	}
	for (size_t i = 0; i < options->count; i++)
		start(&workers->each[i]);
	return workers;
}

static void forget_handle(uv_handle_t *handle)
{
	struct worker *worker = handle->data;

	if (--worker->owner->open_handles == 0)
		free(worker->owner);
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	for (size_t i = 0; i < workers->options.count; i++) {
		struct worker *worker = &workers->each[i];

		for (size_t end = 0; end < 2 && worker->taps[end] >= 0; end++)
			close(worker->taps[end]);
		uv_close((uv_handle_t *)&worker->restart, forget_handle);
	}
}
