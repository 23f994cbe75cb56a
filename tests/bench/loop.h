/*
 * The load generator's event loop: one epoll over subscribers, publishers and the commands of the
 * driver. A command runs the loop until it is done, so that pings are answered meanwhile. And the
 * times that are taken in it, each one kept, so that any percentile can be told exactly.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <stddef.h>
#include <stdint.h>

/* The first member of whatever is watched. */
struct watched {
	int fd;
	void (*on_event)(struct watched *watched);
};

/* EPOLLIN and so on, in place of what it was watched for; a descriptor that is closed is forgotten
 * by itself. */
void loop_watch(struct watched *watched, uint32_t events);

/* Waits `wait_ns` at most (for ever when it is negative) and serves what is ready. */
void loop_turn(int64_t wait_ns);

/* CLOCK_MONOTONIC in nanoseconds: the time in the payloads. */
int64_t loop_now_ns(void);

struct samples {
	int64_t *values_ns;
	size_t count, room;
};

void samples_add(struct samples *samples, int64_t ns);

/* Prints "name":{"count":..,"p50":..,"p99":..,"max":..}, in microseconds, on stdout. Sorts them. */
void samples_print(struct samples *samples, const char *name);

#endif
