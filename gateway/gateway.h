/*
 * The parts of one gateway process, wired by gateway.c and lent to one another. All of it belongs
 * to the event loop's thread; the database thread is behind the functions of presence.h.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/client/clients.h"
#include "gateway/client/transport.h"
#include "gateway/cluster/cluster.h"
#include "gateway/door/listener.h"
#include "gateway/presence/database_thread.h"
#include "gateway/presence/tally.h"
#include "gateway/processes/successor.h"
#include "shared/config/config.h"
#include "shared/counters/counters.h"
#include "shared/database/cluster_reader.h"
#include "shared/database/nodes.h"
#include "shared/database/registry.h"

struct gateway {
	struct config *config; /* borrowed; changes in place, on SIGHUP */
	struct inheritance *inheritance; /* borrowed */
	struct uv_loop_s *loop;
	struct counters counters; /* since the start */
	struct tally *tally; /* of all connections, over all workers */
	struct liveness *liveness;
	struct database *database; /* the loop's connection, for the feed and the registry */
	struct feed *feed;
	struct nodes *nodes; /* NULL: there is no redis_url; the same for the next one */
	struct registry *registry;
	struct cluster_reader *cluster_reader;
	struct presence *presence;
	struct database_thread *database_thread;
	struct cluster *cluster; /* NULL: this node is alone */
	struct clients *clients;
	struct transports *transports;
	struct wakeup *wakeup;
	struct upgrades *upgrades;
	struct listener *listener;
	struct listen_file listen_file; /* not of a worker */
};

/* Sets everything up. NULL after logging why; *exit_code is what the program then ends with. Free
 * with gateway_close. */
struct gateway *gateway_open(struct config *config, struct inheritance *inheritance,
			     int *exit_code);

/* Serves until it is told to end, see serve.c; then closes the clients with 1001 and returns the
 * exit code. */
int gateway_run(struct gateway *gateway);

void gateway_close(struct gateway *gateway);

#endif
