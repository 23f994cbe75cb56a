/*
 * Latencies, each one kept, so that any percentile can be told exactly afterwards. Nanoseconds.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
	int64_t *values;
	size_t count, room;
};

/* Adds one; allocates now and then. */
void samples_add(struct samples *samples, int64_t ns);

/* Forgets them all and keeps the memory. */
void samples_clear(struct samples *samples);

void samples_free(struct samples *samples);

/* Prints "name":{"count":..,"mean":..,"p50":..,"p90":..,"p99":..,"max":..}, in microseconds, on
 * stdout. Sorts them. */
void samples_print(struct samples *samples, const char *name);

#endif
