/*
 * How the service is doing now, over all living gateways: the numbers of GET /internal/status, of
 * the status frames and, with gauges_read_all, of GET /internal/metrics. Reads only, and never
 * waits for writers.
 */
#ifndef SHARED_GAUGES_H
#define SHARED_GAUGES_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/cluster_reader.h"
#include "shared/database/database.h"
#include "shared/database/liveness.h"

/* The sessions of living gateways, for a FROM clause. The function belongs to the connection, see
 * gauge_reader_new. */
#define LIVE_SESSIONS                                                                              \
	"sessions WHERE gateway IN (SELECT pid FROM gateways WHERE gateway_alive(pid))"

struct gauges {
	bool gateway_alive; /* otherwise all numbers down to the next comment are 0, and
			       cluster_nodes is -1 */
	int64_t uptime_s; /* of the gateway that has been running longest */
	int64_t registered_topics; /* live ones, worker.status included */
	int64_t active_topics; /* with a subscriber */
	int64_t connected_clients; /* distinct users; each anonymous socket is one */
	int64_t connected_sockets;
	int64_t cluster_nodes; /* -1: no cluster, or Redis is away */
	int64_t dropped_pushes; /* by subscribers, since the database was made */

	/* Also without a gateway. */
	int64_t wal_bytes; /* the write-ahead log's file */
	int64_t log_reader_pid; /* whose open transaction keeps a long log; 0: nobody's */

	/* gauges_read_all only. */
	int64_t api_processes;
	int64_t gateways; /* living ones */
	int64_t outbox_bytes; /* that wait in them */
	int64_t delivered_event_id; /* of the one that is furthest behind; 0 without a gateway */
	int64_t committed_event_id;
	int64_t event_rows;
	int64_t database_bytes;

	/* gauges_read_all, in a cluster; -1: nobody knows. */
	int64_t lag_events, lag_s; /* see struct cluster_lag */
	int64_t away_s; /* for how long Redis has been away; 0: it is there */
};

struct gauge_reader;

/* Also gives the connection the SQL function gateway_alive(pid). The arguments are borrowed; there
 * is no `cluster` (NULL) without a redis_url. Free with gauge_reader_free, which allows NULL. */
struct gauge_reader *gauge_reader_new(struct database *database, struct liveness *liveness,
				      struct cluster_reader *cluster);
void gauge_reader_free(struct gauge_reader *reader);

/* Reads those of the status; looks at every session when several gateways are alive. */
enum database_status gauges_read(struct gauge_reader *reader, struct gauges *gauges);

/* The others too. */
enum database_status gauges_read_all(struct gauge_reader *reader, struct gauges *gauges);

#endif
