/*
 * Latencies in buckets, see histogram.h. No state; called once for each commit and each fan-out;
 * never blocks, never fails.
 */
#include "shared/counters/histogram.h"

enum { FIRST_BOUND_BITS = 3 };

/* A day: what a wrong clock claims must not make the sum overflow. */
static const int64_t longest_us = (int64_t)24 * 3600 * 1000000;

_Static_assert(1 << FIRST_BOUND_BITS == HISTOGRAM_FIRST_BOUND_US, "bounds are powers of two");

int64_t histogram_bound_us(int bucket)
{
	return bucket < HISTOGRAM_BOUNDS ? (int64_t)HISTOGRAM_FIRST_BOUND_US << bucket : INT64_MAX;
}

static int bucket_of(int64_t us)
{
	if (us <= HISTOGRAM_FIRST_BOUND_US)
		return 0;
	/* The bits of us - 1 are those of the smallest power of two that is not below us. */
	int bits = 64 - __builtin_clzll((unsigned long long)us - 1);
	int bucket = bits - FIRST_BOUND_BITS;
	return bucket < HISTOGRAM_BOUNDS ? bucket : HISTOGRAM_BOUNDS;
}

void histogram_add(struct histogram *histogram, int64_t us)
{
	int64_t taken_us = us < 0 ? 0 : us;

	histogram->buckets[bucket_of(taken_us)]++;
	histogram->sum_us += taken_us < longest_us ? taken_us : longest_us;
}

int64_t histogram_count(const struct histogram *histogram)
{
	int64_t count = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += histogram->buckets[i];
	return count;
}
