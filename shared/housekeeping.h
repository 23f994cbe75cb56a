/*
 * What keeps the database small: expired topics and old events are pruned in small batches, and the
 * write-ahead log is checkpointed when it has grown. The API does a step after it has answered, the
 * gateway on its database thread, so it is done whichever of them runs. A step that finds nothing
 * to do takes no lock.
 */
#ifndef SHARED_HOUSEKEEPING_H
#define SHARED_HOUSEKEEPING_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database.h"

struct housekeeping;

/* `config` is borrowed and must live as long. Free with housekeeping_free before the database is
 * closed. */
struct housekeeping *housekeeping_new(struct database *database, const struct config *config);
void housekeeping_free(struct housekeeping *housekeeping);

/* One step at `now_ms` (wall clock), waiting for the write lock for at most `wait_ms` (0 in a
 * program with threads). *more is set when a batch was full and another step should follow soon. */
enum database_status housekeeping_step(struct housekeeping *housekeeping, int64_t now_ms,
				       int64_t wait_ms, bool *more);

#endif
