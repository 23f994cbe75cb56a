/*
 * Where the ids of events jump ahead. A commit reaches the disk later: after a boot some may be
 * lost whose ids were handed out, and a database that somebody has put here may lack those of the
 * one before, or of its own later days. An id that has been handed out must not be used again.
 */
#ifndef SHARED_ID_JUMPS_H
#define SHARED_ID_JUMPS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/database.h"

/* 0: there is no event, or not even a table of events yet. False when it could not be read. */
bool ids_newest(sqlite3 *handle, int64_t *newest);

/* Whether that event is in the database; true if `id` is 0. False when it could not be read. */
bool ids_knows(sqlite3 *handle, int64_t id, bool *is_known);

/* Lets ids jump if they have to: ahead of `known_id`, and of all that can have been handed out, for
 * they start from the clock, and no commits come faster than it ticks. Remembers the boot. They
 * have to, too, if it `is_unknown` whether the database is the latest. `newest` is the newest id
 * afterwards. With the write lock held; false: `why` has the reason. */
bool ids_note(sqlite3 *handle, int64_t known_id, bool is_unknown, int64_t *newest,
	      char why[DATABASE_WHY_SIZE]);

#endif
