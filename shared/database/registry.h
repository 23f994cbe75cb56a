/*
 * Which topics the API has registered: one look into the database for each question. Reads only; in
 * WAL mode a read never waits for a writer.
 */
#ifndef SHARED_REGISTRY_H
#define SHARED_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/database/database.h"

struct registry;

/* `database` is borrowed: database_is_prepared says whether it is good. Free it before the database
 * is closed. */
struct registry *registry_new(struct database *database);

/* NULL is allowed. */
void registry_free(struct registry *registry);

struct registered_topic {
	bool registered; /* and not past its expiry */
	bool require_token;
	int64_t newest_id; /* of all events, in the same snapshot */
	/* All that came after the position that was asked about is still there: no push of this
	 * topic has been pruned since, and it is a position of this database, neither in the future
	 * nor one that ids have jumped over. */
	bool can_recover;
};

/* `position`: an event's id, or 0 if nobody resumes. DATABASE_BUSY, too, when this connection does
 * not know the topic or the position, and another file is in the place of its own: others, who have
 * that one open, may know both. */
enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   int64_t position, struct registered_topic *found);

#endif
