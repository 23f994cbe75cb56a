/*
 * Counters on their way into the database and back: the table `counters` has the totals of all
 * processes since it was made. A process adds what it has counted since the last time, so any
 * number of them may come, go and be killed; a killed one loses only what it had not yet added.
 */
#ifndef SHARED_TOTALS_H
#define SHARED_TOTALS_H

#include <stdbool.h>

#include "shared/counters/counters.h"
#include "shared/database/database.h"

struct totals;

/* For a process that has counted nothing yet. `database` is borrowed. */
struct totals *totals_new(struct database *database);
void totals_free(struct totals *totals);

/* True when `now`, which must never fall, has something to add. */
bool totals_are_due(const struct totals *totals, const struct counters *now);

/* Adds it, inside a transaction of the caller, who calls totals_added once that has been
 * committed. */
enum database_status totals_add(struct totals *totals, const struct counters *now);
void totals_added(struct totals *totals, const struct counters *now);

/* All of it as one transaction, waiting for the write lock for at most `wait_ms`. */
enum database_status totals_write(struct totals *totals, const struct counters *now,
				  int64_t wait_ms);

/* The totals in the database. */
enum database_status totals_read(struct totals *totals, struct counters *sums);

#endif
