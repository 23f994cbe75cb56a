/*
 * Who is there, counted over all living gateways from the `gateways` and `sessions` tables: the
 * numbers of GET /internal/status and of the status frames. Reads only.
 */
#ifndef SHARED_CENSUS_H
#define SHARED_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/database.h"
#include "shared/database/liveness.h"

/* The gateways that live, for a WHERE clause. The function is this connection's, see census_new. */
#define CENSUS_LIVE_SESSIONS                                                                       \
	"sessions WHERE gateway IN (SELECT pid FROM gateways WHERE gateway_alive(pid))"

struct service_counts {
	bool gateway_alive; /* else all numbers are 0, cluster_nodes -1 */
	int64_t uptime_s; /* of the gateway that has run longest */
	int64_t registered_topics; /* live ones, worker.status included */
	int64_t active_topics; /* with a subscriber */
	int64_t connected_clients; /* distinct users; each anonymous socket is one */
	int64_t connected_sockets;
	int64_t cluster_nodes;
};

struct census;

/* Also gives the connection the SQL function gateway_alive(pid). Both arguments are borrowed. Free
 * with census_free before the database is closed. */
struct census *census_new(struct database *database, struct liveness *liveness);
void census_free(struct census *census);

enum database_status census_take(struct census *census, struct service_counts *counts);

#endif
