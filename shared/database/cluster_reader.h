/*
 * How this node is doing in its cluster, and who else is in it: what the gateway that relays has
 * written to the tables `cluster` and `nodes`. Reads only; in WAL mode a read never waits for a
 * writer. Without a `redis_url` there is no such reader.
 */
#ifndef SHARED_CLUSTER_READER_H
#define SHARED_CLUSTER_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/database.h"

struct cluster_reader;

/* `database` is borrowed: database_is_prepared says whether it is good. Free it before the database
 * is closed; NULL is allowed. */
struct cluster_reader *cluster_reader_new(struct database *database);
void cluster_reader_free(struct cluster_reader *reader);

enum { STANDING_ID_SIZE = 17, STANDING_WHY_SIZE = 160 };

struct cluster_standing {
	char node[STANDING_ID_SIZE]; /* this one's id */
	int64_t nodes; /* how many listen, this one included; -1: Redis is away */
	int64_t since_ms; /* Redis has been there, or away, since then; 0: nobody knows yet */
	bool is_away;
	char why[STANDING_WHY_SIZE]; /* why it is away; "" when it is not */
};

enum database_status cluster_reader_standing(struct cluster_reader *reader,
					     struct cluster_standing *standing);

/* Events of this node that are not in Redis yet. Looks at each of them. */
struct cluster_lag {
	int64_t events;
	int64_t ms; /* the age of the oldest one */
};

enum database_status cluster_reader_lag(struct cluster_reader *reader, struct cluster_lag *lag);

/* Another node, as it describes itself. Strings are valid during the call. */
struct cluster_node {
	const char *id, *name, *version;
	bool is_alive;
	int64_t sockets, clients, topics;
};

typedef void cluster_node_visitor(void *context, const struct cluster_node *node);

/* Calls `each` for all nodes but this one, by name. */
enum database_status cluster_reader_nodes(struct cluster_reader *reader, cluster_node_visitor *each,
					  void *context);

#endif
