/*
 * What stood in Redis and was not taken: counted by cause, and logged once a minute at most,
 * without a byte of it.
 */
#ifndef GATEWAY_REFUSED_H
#define GATEWAY_REFUSED_H

#include "shared/base/log_repeat.h"
#include "shared/counters/counters.h"

enum {
	REFUSED_FIRST = COUNT_CLUSTER_REFUSED_TOO_BIG,
	REFUSED_CAUSES = COUNT_CLUSTER_REFUSED_TOO_MANY_NODES - REFUSED_FIRST + 1
};

struct refused {
	struct counters *counters;
	struct log_repeat lines[REFUSED_CAUSES];
};

/* The counters are borrowed. */
void refused_init(struct refused *refused, struct counters *counters);

/* `cause`: COUNT_CLUSTER_REFUSED_...; `where` is a constant: "log", "channel", "topic", "nodes". */
void refused_count(struct refused *refused, enum counter cause, const char *where);

/* Writes the log lines that are due, once a second, or that are left. */
void refused_tick(struct refused *refused, bool is_last);

#endif
