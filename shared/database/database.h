/*
 * The SQLite database of both programs, <state_dir>/worker.db in WAL mode: opening it, its pragmas,
 * its migrations, and the two rules of writing: hold the write lock, and take checkpoints only
 * while holding it.
 *
 * A connection belongs to one thread. It waits only between database_write_begin and
 * database_write_end: a read outside of them that finds the database locked (a log that is being
 * recovered, somebody's exclusive lock) is DATABASE_BUSY at once. Functions return a status and the
 * program logs it once; only what happens to the files, and their return, is logged here.
 *
 * When somebody deletes, renames, replaces or locks up its files meanwhile, whoever wants to write
 * next, or starts, notices it, writes them anew from what was open last, in whichever process that
 * is, and opens them again; the others follow. Nothing that was committed is lost, unless
 * another database was put there, or all were killed that had it open: then ids jump. The
 * statements of database_prepare go on with the new connection by themselves; an sqlite3 handle
 * does not outlive a database_write_begin, a database_refresh or a database_look_after.
 */
#ifndef SHARED_DATABASE_H
#define SHARED_DATABASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>

#include "shared/config/config.h"

enum {
	DATABASE_WHY_SIZE = 256,
	DATABASE_START_WAIT_MS = 10000,
	DATABASE_FUNCTIONS = 4,
	DATABASE_LONG_LOG_BYTES =
		16 * 1024 * 1024 /* more than a checkpoint leaves without reason */
};

enum database_status {
	DATABASE_OK,
	DATABASE_BUSY, /* somebody else held a lock for as long as we were willing to wait */
	DATABASE_FULL, /* no room on the disk */
	DATABASE_ERROR /* an I/O error, a damaged file: see database_error */
};

struct database;

/* Opens the database of the configuration's state_dir, making both (modes 0700 and 0600) if they
 * are missing, and brings its schema up to date. Several processes may do so at once: it waits at
 * most `wait_ms` at each lock it meets. Returns NULL with the reason for people in `why`. Close
 * with database_close. */
struct database *database_open(const struct config *config, int64_t wait_ms,
			       char why[DATABASE_WHY_SIZE]);

/* Takes no checkpoint: another process may be committing. Finalizes the statements that are left.
 * NULL is allowed. */
void database_close(struct database *database);

/* For a writer, about once a second: database_write_begin looks after the files too, but not at
 * their modes, and not when there is nothing to write. */
enum database_status database_look_after(struct database *database, int64_t deadline_ms);

/* For a connection that only reads, when it has read all there is: true when another database was
 * in its place, which is open now. */
bool database_refresh(struct database *database);

/* How often the database found in place of this one had another history: what this process has
 * written may not be in it. */
int database_times_lost(const struct database *database);

sqlite3 *database_handle(struct database *database);

/* A prepared statement that lives until database_close, unless it is finalized before. `sql` is
 * constant, and *statement must stay where it is for as long. It becomes NULL when that fails, see
 * database_is_prepared; SQLite takes NULL for a statement whose every step is an error. */
void database_prepare(struct database *database, sqlite3_stmt **statement, const char *sql);

/* A function of one argument for statements that are prepared later; there are a few at most. */
struct database_function {
	const char *name;
	void (*call)(sqlite3_context *context, int count, sqlite3_value **values);
	void *context;
};

void database_add_function(struct database *database, struct database_function function);

/* Runs a statement that gives no rows, and resets it. */
enum database_status database_run(sqlite3_stmt *statement);

/* Runs one that gives one row of `count` whole numbers (NULL is 0), and resets it. */
enum database_status database_read_numbers(sqlite3_stmt *statement, int64_t *numbers, int count);

/* Ask when all statements are prepared: false, with the reason, if one of them could not be (the
 * SQL does not fit the schema, an I/O error). Then close the connection. */
bool database_is_prepared(const struct database *database, char why[DATABASE_WHY_SIZE]);

/* Before a write: takes the write lock and gives SQLite's own lock what is left of the time until
 * `deadline_ms` (monotonic clock). DATABASE_OK: no transaction is open; write, then call
 * database_write_end. Otherwise the lock is not held. 0 is for a thread that must not wait at all,
 * not even for SQLite's own lock. */
enum database_status database_write_begin(struct database *database, int64_t deadline_ms);

/* After it: begins a transaction of several statements, for the caller to commit. What fails in it
 * needs nothing but database_write_end. */
enum database_status database_begin(struct database *database);

/* Rolls back what is not committed and releases the write lock. */
void database_write_end(struct database *database);

/* True, once, after a write that had to wait for the write lock: more writers are at work than are
 * of use. Not with `durability: full`, where writers that wait for the disk share its sync. */
bool database_is_crowded(struct database *database);

/* With `durability: full`, after database_write_end: returns DATABASE_OK when all that this
 * connection has committed is on the disk; otherwise it may be or may not. Readers see it earlier:
 * a gateway may hand out an event that a power cut then takes back, but nobody has been told that
 * it was published. `deadline_ms` bounds the wait for others, not for the disk. Do not call it
 * again for a commit for which it has failed. With `durability: normal` it does nothing. */
enum database_status database_sync(struct database *database, int64_t deadline_ms);

/* What an SQLite result code (SQLITE_OK, SQLITE_ROW and SQLITE_DONE are fine) means to us. */
enum database_status database_status_of(int result);

/* The status for people: "database is locked", "disk is full", "database error". Constant. */
const char *database_status_text(enum database_status status);

/* The last error of the connection, for the log; "": there was none, only the write lock could not
 * be had. Valid until the next call. */
const char *database_error(struct database *database);

/* Bytes of pages in the write-ahead log after this connection's last commit, or that its last
 * checkpoint had to leave. */
int64_t database_wal_bytes(const struct database *database);

/* True when the log is as long as the database file may become: write no more then. It cannot be
 * shortened while somebody's transaction is open; database_find_reader finds that process (0:
 * unknown). */
bool database_log_is_full(const struct database *database);
int64_t database_find_reader(const struct database *database);

/* Copies the log back into the database file with writers held off, so that the next writer starts
 * the log again from its beginning. Syncs the disk: not for an event loop. `deadline_ms` bounds the
 * wait for the write lock; 0: do not wait. */
enum database_status database_checkpoint(struct database *database, int64_t deadline_ms);

#endif
