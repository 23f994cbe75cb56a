/*
 * Which topics the API has registered: one look into the database for each question. Reads only; in
 * WAL mode a read never waits for a writer.
 */
#ifndef SHARED_REGISTRY_H
#define SHARED_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/contract/position.h"
#include "shared/database/database.h"

struct nodes;
struct registry;

/* Both are borrowed; `nodes` is NULL for a single node. database_is_prepared says whether it is
 * good. Free it before the database is closed. */
struct registry *registry_new(struct database *database, struct nodes *nodes);

/* NULL is allowed. */
void registry_free(struct registry *registry);

struct registered_topic {
	bool registered; /* and not past its expiry */
	bool require_token;
	/* All that came after the position that was asked about is still there: no push of this
	 * topic has been pruned since, and it is a position of this database, neither in the future
	 * nor one that ids have jumped over. In a cluster see nodes_missing. */
	bool can_recover;
	int64_t after_id; /* then what came comes after this event here */
	struct position here; /* of the newest of all events, in the same snapshot */
};

/* `position`: where somebody wants to resume; NULL: nobody does, the question is only whether the
 * topic is registered. DATABASE_BUSY also when this connection does not know the topic or the
 * position, and another file has taken the place of its own: processes that have that one open may
 * know both. */
enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   const struct position *position, struct registered_topic *found);

#endif
