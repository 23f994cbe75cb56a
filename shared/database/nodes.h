/*
 * The nodes of a cluster as this one's database knows them: how far the events of each have come,
 * and so the position of a client that has had everything here; and what a client that comes from
 * another node lacks. Reads only. For the feed and the registry, which ask while a statement of
 * theirs is on a row, so that all of it is of the same moment.
 */
#ifndef SHARED_NODES_H
#define SHARED_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/contract/position.h"
#include "shared/database/database.h"
#include "shared/database/schema.h"

struct nodes;

/* `database` is borrowed: database_is_prepared says whether it is good. Free it before the database
 * is closed; NULL is allowed. */
struct nodes *nodes_new(struct database *database);
void nodes_free(struct nodes *nodes);

/* The position of a client that has had everything up to `id`, the newest event. Returns an SQLite
 * result: SQLITE_OK, or why not. */
int nodes_position(struct nodes *nodes, int64_t id, struct position *here);

/* For each row that the feed reads, new or for a replay; `is_own`: it is this node's. *counts: it
 * counts in positions, as only what other nodes get does. */
int nodes_pass(struct nodes *nodes, int64_t id, enum event_kind kind, bool is_own, bool *counts);

/* What a client that comes to a topic with a position has not had. */
struct nodes_missing {
	bool is_gone; /* some of it may be: then nothing below counts */
	int64_t after_id; /* all of it comes after this event here */
};

/* `here`: nodes_position now. `pruned_id`: up to which the pushes of the topic may be gone here. */
int nodes_missing(struct nodes *nodes, const char *topic, size_t len, const struct position *client,
		  const struct position *here, int64_t pruned_id, struct nodes_missing *missing);

#endif
