/*
 * What keeps the database small: expired topics and old events are pruned in small batches, and the
 * write-ahead log is checkpointed when it has grown. The API takes a step after it has answered,
 * the gateway on its database thread, so it is done whichever of them is running. A step that finds
 * nothing to do takes no lock.
 */
#ifndef SHARED_HOUSEKEEPING_H
#define SHARED_HOUSEKEEPING_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/database.h"

struct housekeeping;

/* How much is kept; see the configuration's keys of these names. */
struct housekeeping_limits {
	int64_t event_retention_ms;
	int64_t event_limit;
	int64_t database_max_bytes; /* when it is nearly reached, the oldest events go early */
	int64_t disk_reserve; /* bytes, see reserve.h */
};

struct housekeeping_limits housekeeping_limits_of(const struct config *config);

/* Free with housekeeping_free before the database is closed. */
struct housekeeping *housekeeping_new(struct database *database);
void housekeeping_free(struct housekeeping *housekeeping);

/* A write has failed with DATABASE_FULL: the next step gives up the reserve, lets the oldest events
 * go early, and shortens the log. */
void housekeeping_make_room(struct housekeeping *housekeeping);

/* One step at `now_ms` (wall clock), waiting for the write lock for at most `wait_ms` (0 in a
 * program with threads). *more is set when a batch was full and another step should follow soon. */
enum database_status housekeeping_step(struct housekeeping *housekeeping,
				       struct housekeeping_limits limits, int64_t now_ms,
				       int64_t wait_ms, bool *more);

#endif
