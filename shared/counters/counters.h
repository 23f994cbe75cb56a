/*
 * What the programs count, by name: plain integers in memory, of one thread each. totals.h adds
 * them to the database. The names and the order are those of GET /internal/metrics. README.md
 * explains the words for all that is counted.
 *
 * A new counter is an enumerator beside those of its family and its row in counters.c.
 */
#ifndef SHARED_COUNTERS_H
#define SHARED_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

enum counter {
	/* Of the API. */
	COUNT_PUBLISHES,
	COUNT_REGISTERS,
	COUNT_UNREGISTERS,
	COUNT_DISCONNECTS,
	COUNT_REFUSAL_400, /* see counter_of_refusal */
	COUNT_REFUSAL_403,
	COUNT_REFUSAL_404,
	COUNT_REFUSAL_405,
	COUNT_REFUSAL_413,
	COUNT_REFUSAL_503,
	COUNT_REFUSAL_OTHER,

	/* Of the gateway. A push to a subscriber is delivered, dropped, or still waits. */
	COUNT_DELIVERIES,
	COUNT_DROP_OUTBOX_FULL,
	COUNT_DROP_POOL_FULL,
	COUNT_DROP_CLOSED,
	COUNT_DROP_PRUNED, /* one for a subscriber and gap, however many pushes were lost in it */
	COUNT_RESUME_RECOVERED,
	COUNT_RESUME_LOST,
	COUNT_RESUME_FROM_NOW,
	COUNT_REPLAYED_EVENTS,

	/* What became of each connection before and at its authentication. */
	COUNT_CONNECTION_ACCEPTED,
	COUNT_CONNECTION_AUTH_REQUIRED,
	COUNT_CONNECTION_UNAUTHORIZED,
	COUNT_CONNECTION_AUTH_EXPIRED,
	COUNT_CONNECTION_TIMEOUT,
	COUNT_CONNECTION_UNREGISTERED,
	COUNT_CONNECTION_TOO_BIG,
	COUNT_CONNECTION_NOT_UTF8,
	COUNT_CONNECTION_TOO_MANY_MESSAGES,
	COUNT_CONNECTION_UNAVAILABLE,
	COUNT_CONNECTION_SHUTDOWN,
	COUNT_CONNECTION_PENDING_FULL,
	COUNT_CONNECTION_GONE,

	/* What ended the accepted ones. */
	COUNT_CLOSE_GONE,
	COUNT_CLOSE_SILENT,
	COUNT_CLOSE_SLOW,
	COUNT_CLOSE_PRUNED,
	COUNT_CLOSE_UNREGISTERED,
	COUNT_CLOSE_DISCONNECTED,
	COUNT_CLOSE_AUTH_EXPIRED,
	COUNT_CLOSE_UNAUTHORIZED,
	COUNT_CLOSE_AUTH_REQUIRED,
	COUNT_CLOSE_TOO_BIG,
	COUNT_CLOSE_NOT_UTF8,
	COUNT_CLOSE_TOO_MANY_MESSAGES,
	COUNT_CLOSE_UNAVAILABLE,
	COUNT_CLOSE_SHUTDOWN,

	/* Handshakes that were answered with something other than an upgrade. */
	COUNT_REFUSED_MALFORMED,
	COUNT_REFUSED_NOT_FOUND,
	COUNT_REFUSED_BAD_TOPIC,
	COUNT_REFUSED_NOT_REGISTERED,
	COUNT_REFUSED_NOT_UPGRADE,
	COUNT_REFUSED_ORIGIN,
	COUNT_REFUSED_FULL,
	COUNT_REFUSED_ADDRESS_FULL,
	COUNT_REFUSED_PENDING_FULL,
	COUNT_REFUSED_TIMEOUT,
	COUNT_REFUSED_GONE,
	COUNT_REFUSED_UNAVAILABLE,

	/* Of the cluster's thread, which talks to Redis. */
	COUNT_CLUSTER_RELAYED,
	COUNT_CLUSTER_RECEIVED, /* those that were added, not those that were here already */
	COUNT_CLUSTER_REFUSED_TOO_BIG,
	COUNT_CLUSTER_REFUSED_NOT_UTF8,
	COUNT_CLUSTER_REFUSED_NOT_JSON,
	COUNT_CLUSTER_REFUSED_MALFORMED, /* something is missing, or of another type */
	COUNT_CLUSTER_REFUSED_BAD_TOPIC,
	COUNT_CLUSTER_REFUSED_TOO_MANY_NODES,
	COUNT_CLUSTER_RECONNECTS, /* the first connection included */
	COUNT_CLUSTER_GAPS,

	COUNTERS
};

enum latency {
	LATENCY_COMMIT, /* the API: of a publish, including the wait for the lock */
	LATENCY_DELIVERY, /* the gateway: from the publish until all subscribers were written to */
	LATENCY_FANOUT, /* the gateway: the writing alone */
	LATENCIES
};

/* How long something took: counts in buckets whose upper bounds double from 8 microseconds to 17
 * seconds. All latencies have the same bounds, so that they can be added up and kept as plain
 * numbers. The last bucket takes whatever is longer than every bound. */
enum { HISTOGRAM_FIRST_BOUND_US = 8, HISTOGRAM_BOUNDS = 22, HISTOGRAM_BUCKETS };

struct histogram {
	int64_t buckets[HISTOGRAM_BUCKETS]; /* each counts what is not in a lower one */
	int64_t sum_us;
};

/* The longest time that bucket takes, in microseconds; INT64_MAX for the last one. */
int64_t histogram_bound_us(int bucket);

/* Counts one that took `us` microseconds. A negative time, when a clock has been set back, counts
 * as 0. */
void histogram_add(struct histogram *histogram, int64_t us);

/* Begin with zeroes. The same numbers are also one row of cells, each with a name of its own: the
 * rows of the table `counters`. A histogram has a cell for each bucket and one for its sum. */
enum { COUNTER_CELLS = COUNTERS + LATENCIES * (HISTOGRAM_BUCKETS + 1) };

struct counters {
	union {
		struct {
			int64_t counts[COUNTERS];
			struct histogram latencies[LATENCIES];
		};
		int64_t cells[COUNTER_CELLS];
	};
};

struct counter_name {
	const char *family; /* "drops" */
	const char *key; /* "cause"; NULL: a family of one */
	const char *label; /* "outbox_full", "" */
	const char *help; /* of the first of a family, NULL for the others */
};

struct latency_name {
	const char *family; /* "commit" */
	const char *help;
};

extern const struct counter_name counter_names[COUNTERS];
extern const struct latency_name latency_names[LATENCIES];

/* The counter of an answer with that HTTP status. */
enum counter counter_of_refusal(int status);

enum { COUNTER_NAME_SIZE = 32 };

struct counter_cell {
	char name[COUNTER_NAME_SIZE]; /* "drops", "commit_us", "commit_us_sum" */
	char label[COUNTER_NAME_SIZE]; /* "outbox_full", "", a bucket's bound: "8", "more" */
};

void counters_cell_name(size_t cell, struct counter_cell *name);

#endif
