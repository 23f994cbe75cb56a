/*
 * All SQL of the cluster's thread about events and about this node: its own events on their way to
 * Redis, those of others on their way here, and the row in `cluster`. What is not urgent waits in
 * memory for the next commit.
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

struct cluster_store;

/* Both are borrowed. The counters are added to the totals with each commit. Free it before the
 * database is closed. NULL is allowed. */
struct cluster_store *cluster_store_new(struct database *database, struct counters *counters);
void cluster_store_free(struct cluster_store *store);

/* What the row in `cluster` says, or will say when it is written next. */
struct cluster_state {
	char node[NODE_ID_LEN + 1];
	int64_t joined_id; /* own events up to this one stay at home */
	int64_t relayed_id; /* own events up to this one are in the log up to `position` */
	struct log_position position;
	char marker[CLUSTER_MARKER_SIZE]; /* "": this node has never been there */
	int64_t nodes; /* -1: away */
	int64_t since_ms; /* 0: since the database was made */
	char why[CLUSTER_WHY_SIZE]; /* "": it is there */
};

/* Reads all of it anew; and joins the cluster, for a node that has never been in one: its newest
 * event is then the last that stays at home. */
enum database_status cluster_store_load(struct cluster_store *store);

/* Another process of this node may have the state from now on: it is not written any more. */
void cluster_store_unload(struct cluster_store *store);

/* Another process of this node has written the state since it was loaded: nothing can be committed
 * until it is loaded anew. */
bool cluster_store_is_overtaken(const struct cluster_store *store);

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

/* What an entry of another node is, before any of them are added; `may_miss` as for entry_judge. */
enum entry_verdict cluster_store_judge(const struct cluster_store *store,
				       const struct log_entry *entry, bool may_miss);

/* A transaction: begin, which waits a moment for the write lock, and with DATABASE_OK a commit, or
 * cluster_store_give_up. What fails has changed nothing, and may be tried again. */
enum database_status cluster_store_begin(struct cluster_store *store);

/* Adds an entry of another node that is not ENTRY_KNOWN, a gap before it if there is one, and notes
 * how far that node has come. DATABASE_FULL: too many nodes; *is_refused is set, and it is passed
 * by. */
enum database_status cluster_store_add(struct cluster_store *store, const struct log_entry *entry,
				       enum entry_verdict verdict, bool *is_refused);

/* For a node that comes to a cluster: how far another one had come by then. */
enum database_status cluster_store_learn(struct cluster_store *store, const struct log_entry *entry,
					 bool *is_refused);

/* An event of a foreign node. */
enum database_status cluster_store_add_foreign(struct cluster_store *store, const char *origin,
					       struct slice topic, struct slice payload);

/* With what waits in memory, and `position` in the place of the one in the state, unless NULL. */
enum database_status cluster_store_commit(struct cluster_store *store,
					  const struct log_position *position);
void cluster_store_give_up(struct cluster_store *store);

/* Commits what waits, if anything does. */
enum database_status cluster_store_flush(struct cluster_store *store);

/* Lets the ids of own events jump ahead of `known_id`, which others have seen here. */
enum database_status cluster_store_jump(struct cluster_store *store, int64_t known_id);

/* The newest event; 0 if that cannot be read. */
int64_t cluster_store_newest(struct cluster_store *store);

#endif
