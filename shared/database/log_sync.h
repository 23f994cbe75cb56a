/*
 * Waiting for the disk together (`durability: full`): whoever has committed waits here, with the
 * write lock released, until the write-ahead log is on the disk. One process at a time syncs it,
 * for all that have committed by then; those that commit meanwhile share the next sync. The file
 * <state_dir>/sync.lock is the lock and, mapped into memory, has the counts that they share.
 */
#ifndef SHARED_LOG_SYNC_H
#define SHARED_LOG_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

struct log_sync;

/* Opens (and makes, mode 0600) the file. NULL with errno when that fails. */
struct log_sync *log_sync_open(const char *path);
void log_sync_close(struct log_sync *sync);

enum log_sync_turn {
	LOG_SYNC_COVERED, /* what was committed is on the disk: somebody else has synced it */
	LOG_SYNC_OURS, /* sync the log, then call log_sync_end */
	LOG_SYNC_LATE /* nobody has by `deadline_ms` */
};

/* Call it after a commit. `deadline_ms` (monotonic clock) bounds the wait for others. */
enum log_sync_turn log_sync_begin(struct log_sync *sync, int64_t deadline_ms);

/* `good`: the log is on the disk, with everything that was committed before log_sync_begin
 * returned. */
void log_sync_end(struct log_sync *sync, bool good);

/* Both return an SQLite result. Rewriting makes all pages of the log dirty again; it needs a write
 * transaction on the connection, which keeps other writers out. */
int log_sync_rewrite(sqlite3 *handle);
int log_sync_now(sqlite3 *handle);

#endif
