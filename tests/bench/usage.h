/*
 * What processes have used so far, from /proc: processor time of all their threads, and resident
 * memory.
 */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdint.h>

struct usage {
	int64_t cpu_ns; /* user and system */
	int64_t ticks_ns; /* the same from /proc/PID/stat, in steps of a clock tick (10 ms) */
	int64_t rss_bytes;
};

/* Adds up the processes of a list like "12,34"; the program ends when one is not there. */
struct usage usage_of(const char *pids);

#endif
