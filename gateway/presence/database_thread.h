/*
 * All that the gateway writes to the database, and the housekeeping: on a thread of its own with a
 * connection of its own, so that the event loop never waits for a lock or a disk. It takes its work
 * from presence.h; a new kind of work is another bit there and a line in database_thread_run.
 */
#ifndef GATEWAY_DATABASE_THREAD_H
#define GATEWAY_DATABASE_THREAD_H

#include "gateway/presence/presence.h"
#include "shared/config/config.h"
#include "shared/database/liveness.h"

struct database_thread;

/* Opens its connection. All is borrowed, `config` for this call alone. This process has claimed its
 * pid; `address` is where it listens. NULL with the reason in `why`. */
struct database_thread *database_thread_open(const struct config *config, struct liveness *liveness,
					     struct presence *presence, const char *address,
					     char why[DATABASE_WHY_SIZE]);

void database_thread_start(struct database_thread *thread);

/* Ends the thread, which removes this gateway's rows if the lock can be had within a second, and
 * closes its connection. NULL is allowed. */
void database_thread_close(struct database_thread *thread);

/* What the thread does until PRESENCE_END; returns NULL. Public for tests that run it on a thread
 * of theirs. */
void *database_thread_run(void *thread);

#endif
