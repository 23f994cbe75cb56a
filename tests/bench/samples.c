/*
 * Latencies, see samples.h. State: an array that doubles. Never blocks.
 */
#include "tests/bench/samples.h"

#include "shared/base/alloc.h"

enum { FIRST_ROOM = 4096 };

void samples_add(struct samples *samples, int64_t ns)
{
	if (samples->count == samples->room) {
		samples->room = samples->room ? samples->room * 2 : FIRST_ROOM;
		samples->values = xreallocarray(samples->values, samples->room, sizeof(int64_t));
	}
	samples->values[samples->count++] = ns;
}

void samples_clear(struct samples *samples)
{
	samples->count = 0;
}

void samples_free(struct samples *samples)
{
	free(samples->values);
	*samples = (struct samples){0};
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

	return (double)samples->values[rank > 0 ? rank - 1 : 0] / 1000.0;
}

void samples_print(struct samples *samples, const char *name)
{
	double sum = 0;

	printf("\"%s\":{\"count\":%zu", name, samples->count);
	if (samples->count > 0) {
		qsort(samples->values, samples->count, sizeof(int64_t), compare);
		for (size_t i = 0; i < samples->count; i++)
			sum += (double)samples->values[i];
		printf(",\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f",
		       sum / (double)samples->count / 1000.0, percentile_us(samples, 50),
		       percentile_us(samples, 90), percentile_us(samples, 99),
		       percentile_us(samples, 100));
	}
	printf("}");
}
