/*
 * This node's part in a cluster of many, over Redis (redis_url): a thread of its own, which relays
 * what was committed here, commits what comes from other nodes, and taps the gateway, as a process
 * of the API does. The gateway never waits for it. Of several gateway processes one has the link to
 * Redis, and another takes over when it goes.
 *
 * Without redis_url there is none: a NULL, which all functions allow.
 */
#ifndef GATEWAY_CLUSTER_H
#define GATEWAY_CLUSTER_H

#include <stdbool.h>

#include "shared/config/config.h"
#include "shared/database/database.h"
#include "shared/database/liveness.h"

struct cluster;
struct questions;
struct uv_loop_s;

/* `loop` is the gateway's; it and `liveness` are borrowed. The configuration is copied. *out: NULL
 * without redis_url. False with the reason in `why` when there should be one and cannot be. Close
 * with cluster_close. */
bool cluster_open(struct cluster **out, const struct config *config, struct liveness *liveness,
		  struct uv_loop_s *loop, char why[DATABASE_WHY_SIZE]);

/* Starts the thread. */
void cluster_start(struct cluster *cluster);

/* The configuration has changed. */
void cluster_configure(struct cluster *cluster, const struct config *config);

/* There may be new events of this node. As cheap as a tap can be: call it whenever that is so. */
void cluster_tap(struct cluster *cluster);

/* For topics that are not known here; on the gateway's loop. NULL: this node is alone. */
struct questions *cluster_questions(struct cluster *cluster);

/* Others serve from now on: gives up the link, so that one of them can have it. */
void cluster_drain(struct cluster *cluster);

/* Ends the thread, which relays what is left if Redis answers within half a second. The handle on
 * the gateway's loop closes with that loop's next turn. */
void cluster_close(struct cluster *cluster);

#endif
