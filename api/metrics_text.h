/*
 * Metrics in Prometheus' text exposition format, version 0.0.4. Pure but for memory.
 */
#ifndef API_METRICS_TEXT_H
#define API_METRICS_TEXT_H

#include <stddef.h>

#include "shared/counters/gauges.h"
#include "shared/counters/counters.h"

struct metrics {
	struct counters totals;
	struct gauges gauges;
};

/* The whole exposition, for the caller to free; NULL when there is no memory. */
char *metrics_text(const struct metrics *metrics, size_t *len);

#endif
