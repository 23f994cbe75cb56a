/*
 * What Redis is asked before anything else is done with it: who else is there by this node's name,
 * and whether all is as this node has left it.
 */
#ifndef GATEWAY_FINDINGS_H
#define GATEWAY_FINDINGS_H

#include "gateway/cluster/redis.h"
#include "gateway/cluster/rules.h"
#include "gateway/cluster/store.h"

enum { CHANNEL_SIZE = 64 };

struct cluster;

struct findings {
	struct cluster *cluster;
	struct redis *commands;
	char channel[CHANNEL_SIZE]; /* of this node's heartbeat */
	/* `why`: it is not to be used; for people, and gone afterwards. NULL: it is. */
	void (*on_found)(struct cluster *cluster, const char *why);

	bool has_tracking; /* Redis tells which topics have changed */
	bool has_said_so; /* that it does not */
	bool is_alone; /* nobody else listens to the channel */
	char marker[CLUSTER_MARKER_SIZE]; /* what Redis is to remember this cluster by */
	struct log_findings log; /* as far as Redis tells */
	long long client_id; /* of the subscriber */
};

/* Subscribes to all channels, and asks. The connections are ready, and borrowed until `on_found` is
 * called, which may close them. */
void findings_ask(struct findings *findings, struct redis *commands, struct redis *subscriber);

#endif
