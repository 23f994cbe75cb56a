/*
 * What the modules of this room share: the thread and what belongs to it. All of it is the thread's
 * alone, but for what is atomic.
 *
 * A module is x_new(struct cluster *) and x_free (NULL is allowed); cluster.c tells it what
 * happens: x_on_link when the link is up and all that was in the log has been read, x_on_link_lost
 * (once, also at the end) and x_on_tick each second. No module calls cluster.c.
 */
#ifndef GATEWAY_CLUSTER_INTERNAL_H
#define GATEWAY_CLUSTER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <uv.h>

#include "shared/base/held_file.h"
#include "gateway/cluster/node_info.h"
#include "gateway/cluster/refused.h"
#include "shared/base/notify.h"
#include "shared/database/database.h"
#include "shared/database/liveness.h"
#include "shared/counters/counters.h"

enum {
	CLUSTER_NODE_SIZE = 17, /* 16 hex digits and a NUL */
	CLUSTER_NODES_MAX = 32, /* nodes of ours in one cluster */
	CLUSTER_LOCK_WAIT_MS = 200 /* for the write lock, at a time */
};

#define CLUSTER_LOG "wavelog:log"
#define CLUSTER_LOG_NODES "wavelog:log:nodes"
#define CLUSTER_MARKER "wavelog:marker"
#define CLUSTER_EVENTS "wavelog:events"
#define CLUSTER_INVALIDATED "__redis__:invalidate"

struct cluster {
	uv_loop_t loop; /* the thread's */
	struct {
		_Atomic int64_t event_limit, event_retention_ms, max_topics;
	} settings; /* of the configuration, as it is now */
	struct database *database; /* the thread's connection */
	struct liveness *liveness; /* borrowed; the gateway uses it too */
	struct redis_server *server;
	struct notify *notify; /* notify_gateway after each commit of events */
	struct counters counters; /* what the thread has counted */
	struct refused refused; /* what was not taken, among it */
	char instance[CLUSTER_NODE_SIZE]; /* of this thread, at random */
	const char *node; /* this node's id; "" until the thread is the relay for the first time */
	char name[NODE_NAME_MAX + 1]; /* for people */
	bool is_relay; /* of this node's processes it is the one with the link */

	struct cluster_store *store; /* SQL: this node, its events, and transactions */
	struct intake *intake; /* SQL: events of other nodes */
	struct link *link; /* link_commands(link): NULL while Redis is away */
	struct reader *reader;
	struct relay *relay;
	struct topics *topics;
	struct channel *channel;
	struct roster *roster;
	struct questions *questions; /* of the gateway's loop */

	/* Inside cluster.c. */
	uv_async_t tapped; /* on the thread's loop: there may be events, or it is to end */
	uv_async_t answered; /* on the gateway's loop */
	uv_timer_t tick;
	struct held_file lock_file;
	int lock; /* relay.lock; -1: not open */
	int times_lost; /* see database_times_lost */
	bool is_up, has_been_up; /* the link is open; it was */
	bool must_give; /* Redis has lost its memory, or has never met this node */
	int64_t finish_ms; /* when it gives up the link at the latest, monotonic; 0: it does not */
	bool has_asked, is_answered; /* Redis, whether it has done all */
	pthread_t id;
	bool is_started;
	atomic_bool is_draining; /* others are to relay from now on */
	atomic_bool is_ending; /* that, and the thread ends */
};

/* For uv_close: frees what has the handle, when it has closed. */
static inline void free_data(uv_handle_t *handle)
{
	free(handle->data);
}

#endif
