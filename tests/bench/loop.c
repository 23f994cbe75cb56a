/*
 * The event loop, see loop.h. State: the epoll descriptor. Blocks in loop_turn only.
 */
#include "tests/bench/loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/fail.h"
#include "tests/bench/publisher.h"
#include "tests/bench/subscriber.h"

enum { BATCH = 512, NS_IN_S = 1000000000 };

static int epoll_fd = -1;

void loop_open(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		fail_errno("epoll_create1");
}

void loop_close(void)
{
	close(epoll_fd);
}

static void control(int operation, struct watched *watched, uint32_t events)
{
	struct epoll_event event = {.events = events, .data = {.ptr = watched}};

	if (epoll_ctl(epoll_fd, operation, watched->fd, &event) != 0)
		fail_errno("epoll_ctl");
}

void loop_watch(struct watched *watched, uint32_t events)
{
	control(EPOLL_CTL_ADD, watched, events);
}

void loop_watch_other(struct watched *watched, uint32_t events)
{
	control(EPOLL_CTL_MOD, watched, events);
}

int64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_IN_S + now.tv_nsec;
}

bool loop_turn(int64_t wait_ns)
{
	struct epoll_event events[BATCH];
	struct timespec wait = {.tv_sec = wait_ns / NS_IN_S, .tv_nsec = wait_ns % NS_IN_S};
	int count = epoll_pwait2(epoll_fd, events, BATCH, wait_ns < 0 ? NULL : &wait, NULL);
	bool commands = false;

	for (int i = 0; i < count; i++) {
		struct watched *watched = events[i].data.ptr;

		switch (watched->kind) {
		case WATCHED_COMMANDS:
			commands = true;
			break;
		case WATCHED_SUBSCRIBER:
			subscriber_on_event((struct subscriber *)watched);
			break;
		case WATCHED_PUBLISHER:
			publisher_on_event((struct publisher *)watched);
			break;
		}
	}
	return commands;
}
