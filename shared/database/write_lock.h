/*
 * One writer at a time, over all processes: an flock(2) on a file beside the database. Whoever
 * commits or takes a checkpoint holds it, so that no checkpoint of ours can overlap a commit
 * (sqlite.org/wal.html, "WAL-reset bug"), and so that waiting writers are queued by the kernel
 * instead of sleeping and polling in SQLite's busy handler.
 *
 * A lock is the descriptor of its file: close(2) gives it up, as does the death of its holder.
 */
#ifndef SHARED_WRITE_LOCK_H
#define SHARED_WRITE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Opens (and makes, mode 0600) the file. -1 with errno when that fails. */
int write_lock_open(const char *path);

/* Takes the lock if it is free. Never waits. */
bool write_lock_try(int lock);

/* Takes the lock, waiting until clock_monotonic_ms() reaches `deadline_ms` at the latest; false
 * then, and when no timer is to be had. SIGALRM ends the wait. */
bool write_lock_take(int lock, int64_t deadline_ms);

void write_lock_release(int lock);

#endif
