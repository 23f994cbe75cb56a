/*
 * The way of counters into the database and back: the table `counters` has the totals of all
 * processes since it was made. A process adds what it has counted since the last time, so that any
 * number of them may come, go and be killed; what was not added yet is all that a killed one loses.
 */
#ifndef SHARED_ACCOUNTS_H
#define SHARED_ACCOUNTS_H

#include <stdbool.h>

#include "shared/counters/counters.h"
#include "shared/database/database.h"

struct accounts;

/* Of a process that has counted nothing yet. Without a database, see accounts_attach. */
struct accounts *accounts_new(void);
void accounts_free(struct accounts *accounts);

/* Goes on with that database, which is borrowed; NULL before it is closed. What was added to one is
 * not added to the next. */
void accounts_attach(struct accounts *accounts, struct database *database);

/* True when there is a database and `now`, which must not count down, has something to add. */
bool accounts_are_due(const struct accounts *accounts, const struct counters *now);

/* Adds it, inside a transaction of the caller, who says accounts_added when that was committed. */
enum database_status accounts_add(struct accounts *accounts, const struct counters *now);
void accounts_added(struct accounts *accounts, const struct counters *now);

/* All of it as one transaction, waiting for the write lock for at most `wait_ms`. */
enum database_status accounts_write(struct accounts *accounts, const struct counters *now,
				    int64_t wait_ms);

/* The totals in the database. */
enum database_status accounts_read(struct accounts *accounts, struct counters *totals);

#endif
