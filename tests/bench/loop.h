/*
 * The load generator's event loop: one epoll over subscribers, publishers and the commands of the
 * driver. A command runs the loop until it is done, so that pings are answered meanwhile.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <stdbool.h>
#include <stdint.h>

enum watched_kind { WATCHED_COMMANDS, WATCHED_SUBSCRIBER, WATCHED_PUBLISHER };

/* The first member of whatever is watched. */
struct watched {
	enum watched_kind kind;
	int fd;
};

void loop_open(void);
void loop_close(void);

/* EPOLLIN and so on; a descriptor that is closed is forgotten by itself. */
void loop_watch(struct watched *watched, uint32_t events);
void loop_watch_other(struct watched *watched, uint32_t events);

/* Waits `wait_ns` at most (for ever when it is negative) and serves what is ready. True when the
 * commands are. */
bool loop_turn(int64_t wait_ns);

/* CLOCK_MONOTONIC in nanoseconds: the time in the payloads. */
int64_t loop_now_ns(void);

#endif
