/*
 * A connection from the inside: connection.c uses it, opening.c makes it from the files that
 * restore.c finds, or puts back when they have gone; generation.c knows which they are.
 */
#ifndef SHARED_DATABASE_INTERNAL_H
#define SHARED_DATABASE_INTERNAL_H

#include "shared/base/held_file.h"
#include "shared/database/database.h"

/* How long processes that have missing files open have to put them back. Only tests change it. */
extern int64_t opening_patience_ms;

/* What it holds open. */
enum database_file { DIRECTORY, MAIN_FILE, LOG_FILE, INDEX_FILE, LOCK_FILE, SYNC_FILE, FILES };

struct database {
	sqlite3 *handle;
	char *state_dir;
	int64_t max_bytes;
	bool waits_for_disk;
	int lock; /* see write_lock.h; -1: not open */
	uint64_t home; /* see generation_home */
	struct log_sync *sync; /* NULL: the disk is not waited for */
	bool has_waited; /* for the write lock */
	bool is_in_doubt; /* pages of the log may be lost although the kernel takes them for clean
			   */
	sqlite3_stmt *roll_back; /* of the last database_begin; NULL: there was none */
	char rolled_back_for[DATABASE_WHY_SIZE]; /* SQLite's message, "": nothing was */
	int64_t page_bytes, wal_bytes;
	char fault[DATABASE_WHY_SIZE]; /* why a statement could not be prepared; "": all could */

	/* What is prepared anew for another handle. */
	struct prepared {
		sqlite3_stmt **statement, *next;
		const char *sql;
	} * prepared;
	size_t prepared_count;
	struct database_function functions[DATABASE_FUNCTIONS]; /* the used ones first */

	struct held_file files[FILES];
	struct timespec changed; /* the directory's time, when it was last looked at */
	int64_t changed_ms; /* monotonic: since when it has had that time */
	int64_t looked_ms; /* monotonic: the last look */
	int64_t doubtful_ms; /* monotonic: since when what is there is not what it was; 0: it is */
	ino_t doubtful_inode; /* of the file of the database that is there; 0: none */
	int64_t noted_id; /* the newest event that the lock's file knows of from us */
	int lost; /* see database_times_lost */
	struct log_repeat trouble; /* with making it anew */
};

/* Opens the lock file of database_sync, in place of the one that was open. */
enum database_status opening_sync(struct database *database, char why[DATABASE_WHY_SIZE]);

enum opening {
	OPENING_SAME, /* it has the newest event that is known */
	OPENING_ANY, /* it may be another database */
	OPENING_NEW /* it is made */
};

struct generation;

/* With the write lock held: opens the files that are there, which are `here`, brings the schema up
 * to date, and lets them replace those that were open. Waits at most `wait_ms` for SQLite's locks.
 * Returns an SQLite result; after a failure the old ones stay. SQLITE_ABORT: files were deleted
 * meanwhile, or it is not the same database. */
int opening_file(struct database *database, int64_t wait_ms, enum opening how,
		 const struct generation *here, char why[DATABASE_WHY_SIZE]);

/* Leaves the statements of the callers dangling. NULL is allowed. */
void opening_close(sqlite3 *handle);

/* Cheap enough for each write: as a rule the directory tells by itself that nothing has changed. */
bool database_is_in_place(struct database *database);

/* With the write lock held: opens what is there, or puts back what anybody had open last. Returns
 * an SQLite result. SQLITE_ABORT: come again, with the lock given up meanwhile, so that others get
 * the time to put files back, or to go on deleting. `is_over`: that time is up. A reader leaves it
 * to a writer to put files back. */
int restore_latest(struct database *database, int64_t wait_ms, bool is_writer, bool *is_over,
		   char why[DATABASE_WHY_SIZE]);

/* With the write lock held, at least the old one: makes the connection anew because it is not in
 * its place. DATABASE_BUSY: come again. */
enum database_status restore(struct database *database, int64_t deadline_ms, bool is_writer);

#endif
