/* Signals on a loop, see signals.h. State: a uv handle for each. Never blocks. */
#include "gateway/processes/signals.h"

#include <signal.h>
#include <uv.h>

#include "shared/base/alloc.h"

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
enum { COUNT = sizeof(numbers) / sizeof(numbers[0]) };

struct signals {
	uv_signal_t each[COUNT];
	size_t open_handles;
	signals_handler *handler;
	void *context;
};

void signals_hold(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < COUNT; i++)
		sigaddset(&set, numbers[i]);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct signals *signals = handle->data;

	signals->handler(signals->context, number);
}

struct signals *signals_take(struct uv_loop_s *loop, signals_handler *handler, void *context)
{
	struct signals *signals = xcalloc(1, sizeof(*signals));

	signals->handler = handler;
	signals->context = context;
	signals->open_handles = COUNT;
	for (size_t i = 0; i < COUNT; i++) {
		uv_signal_init(loop, &signals->each[i]);
		signals->each[i].data = signals;
		uv_signal_start(&signals->each[i], on_signal, numbers[i]);
	}
	signals_hold(false);
	return signals;
}

static void forget_handle(uv_handle_t *handle)
{
	struct signals *signals = handle->data;

	if (--signals->open_handles == 0)
		free(signals);
}

void signals_leave(struct signals *signals)
{
	if (!signals)
		return;
	signals_hold(true);
	for (size_t i = 0; i < COUNT; i++)
		uv_close((uv_handle_t *)&signals->each[i], forget_handle);
}
