/*
 * The event loop and the times, see loop.h. State: the epoll descriptor. Blocks in loop_turn only.
 */
#include "tests/bench/loop.h"

#include <err.h>
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#include "shared/base/alloc.h"

enum { BATCH = 512, NS_IN_S = 1000000000, FIRST_ROOM = 4096 };

static int epoll_fd = -1;

void loop_watch(struct watched *watched, uint32_t events)
{
	struct epoll_event event = {.events = events, .data = {.ptr = watched}};

	if (epoll_fd < 0)
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, watched->fd, &event) != 0 &&
	    (errno != ENOENT || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watched->fd, &event) != 0))
		err(EXIT_FAILURE, "epoll_ctl");
}

void loop_turn(int64_t wait_ns)
{
	struct epoll_event events[BATCH];
	struct timespec wait = {.tv_sec = wait_ns / NS_IN_S, .tv_nsec = wait_ns % NS_IN_S};
	int count = epoll_pwait2(epoll_fd, events, BATCH, wait_ns < 0 ? NULL : &wait, NULL);

	for (int i = 0; i < count; i++) {
		struct watched *watched = events[i].data.ptr;

		watched->on_event(watched);
	}
}

int64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_IN_S + now.tv_nsec;
}

void samples_add(struct samples *samples, int64_t ns)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? samples->room * 2 : FIRST_ROOM;
		samples->values_ns =
			xreallocarray(samples->values_ns, samples->room, sizeof(int64_t));
	}
	samples->values_ns[samples->count++] = ns;
}

static int compare(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

/* The smallest value that at least `percent` of all do not exceed. */
static double percentile_us(const struct samples *samples, size_t percent)
{
	size_t rank = (samples->count * percent + 99) / 100;

	return (double)samples->values_ns[rank > 0 ? rank - 1 : 0] / 1000.0;
}

void samples_print(struct samples *samples, const char *name)
{
	printf("\"%s\":{\"count\":%zu", name, samples->count);
	if (samples->count > 0) {
		qsort(samples->values_ns, samples->count, sizeof(int64_t), compare);
		printf(",\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f", percentile_us(samples, 50),
		       percentile_us(samples, 99), percentile_us(samples, 100));
	}
	printf("}");
}
