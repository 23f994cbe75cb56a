/*
 * This node in its database: the row in `cluster`, and its own events on their way to Redis. Also
 * the transactions of the cluster's thread: what is not urgent waits in memory for the next one.
 */
#ifndef GATEWAY_CLUSTER_STORE_H
#define GATEWAY_CLUSTER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/cluster/envelope.h"
#include "gateway/cluster/rules.h"
#include "shared/counters/counters.h"
#include "shared/database/database.h"

enum { CLUSTER_MARKER_SIZE = 33, CLUSTER_WHY_SIZE = 160 };

/* Before the marker, until all of the log has been read again that Redis has by that marker. */
enum { CLUSTER_UNREAD = '+' };

struct cluster_store;

/* Both are borrowed. The counters are added to the totals with each commit. Free it before the
 * database is closed. NULL is allowed. */
struct cluster_store *cluster_store_new(struct database *database, struct counters *counters);
void cluster_store_free(struct cluster_store *store);

/* How far the log has been read. Both move in one commit. */
struct log_reached {
	struct log_position position;
	int64_t relayed_id; /* own events up to this one are in the log up to there */
};

/* What the row in `cluster` says, or will say when it is written next. */
struct cluster_state {
	char node[NODE_ID_LEN + 1];
	int64_t joined_id; /* own events up to this one stay at home */
	struct log_reached reached;
	char marker[CLUSTER_MARKER_SIZE]; /* "": this node has never been there */
	int64_t nodes; /* -1: away */
	int64_t since_ms; /* 0: since the database was made */
	char why[CLUSTER_WHY_SIZE]; /* "": it is there */
	bool is_overtaken; /* by another process, in writing it: nothing can be committed until it
			      is loaded anew */
};

/* Reads all of it anew; and joins the cluster, for a node that has never been in one: its newest
 * event is then the last that stays at home. */
enum database_status cluster_store_load(struct cluster_store *store);

/* Another process of this node may have the state from now on: it is not written any more. */
void cluster_store_unload(struct cluster_store *store);

/* Change it as you like: the next commit writes it. */
struct cluster_state *cluster_store_state(struct cluster_store *store);

/* Sets nodes and why (NULL: it is there), and since when. */
void cluster_store_tell(struct cluster_store *store, int64_t nodes, const char *why);

/* Own events after `after_id`, in order, until `each` is false for one, which is not taken. Those
 * of others are passed over. *looked_id: up to which event all were taken or passed over.
 * `gone_id`: up to which own pushes were pruned. */
typedef bool own_event_visitor(void *context, const struct log_entry *event, int64_t gone_id);
enum database_status cluster_store_look(struct cluster_store *store, int64_t after_id,
					own_event_visitor *each, void *context, int64_t *looked_id);

/* A transaction: begin, which waits a moment for the write lock, and with DATABASE_OK an end, with
 * what waits in memory, and `reached` in the place of what the state has, unless NULL. What
 * fails, or is ended with another status, has changed nothing, and may be tried again. */
enum database_status cluster_store_begin(struct cluster_store *store);
enum database_status cluster_store_end(struct cluster_store *store, enum database_status status,
				       const struct log_reached *reached);

/* Commits what waits, if anything does. */
enum database_status cluster_store_flush(struct cluster_store *store);

/* The log has an event of this node with that id. *is_unknown: it is above all that are here; then
 * the ids of own events jump ahead of it, for others would take the next ones for those. */
enum database_status cluster_store_meet(struct cluster_store *store, int64_t own_id,
					bool *is_unknown);

#endif
