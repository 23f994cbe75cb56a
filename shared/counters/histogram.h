/*
 * How long things took: counts in buckets whose upper bounds double from 8 microseconds to 17
 * seconds. All histograms have the same bounds, so that they can be added up and kept as plain
 * numbers. Pure; one thread.
 */
#ifndef SHARED_HISTOGRAM_H
#define SHARED_HISTOGRAM_H

#include <stdint.h>

/* The last bucket takes whatever is longer than every bound. */
enum { HISTOGRAM_FIRST_BOUND_US = 8, HISTOGRAM_BOUNDS = 22, HISTOGRAM_BUCKETS };

struct histogram {
	int64_t buckets[HISTOGRAM_BUCKETS]; /* each counts what is not in a lower one */
	int64_t sum_us;
};

/* The longest time that bucket takes, in microseconds; INT64_MAX for the last one. */
int64_t histogram_bound_us(int bucket);

/* Counts one that took `us` microseconds. Below 0, when a clock was set back, counts as 0. */
void histogram_add(struct histogram *histogram, int64_t us);

/* How many there are in all. */
int64_t histogram_count(const struct histogram *histogram);

#endif
