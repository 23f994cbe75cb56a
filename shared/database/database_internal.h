/*
 * A connection from the inside: connection.c uses it, opening.c makes it, and restore.c makes it
 * anew when its files have gone.
 */
#ifndef SHARED_DATABASE_INTERNAL_H
#define SHARED_DATABASE_INTERNAL_H

#include "shared/base/held_file.h"
#include "shared/database/database.h"

/* How long those who have files open that are missing have to put them back. Only tests change it.
 */
extern int64_t opening_patience_ms;

/* What it holds open. */
enum database_file { DIRECTORY, MAIN_FILE, LOG_FILE, INDEX_FILE, LOCK_FILE, SYNC_FILE, FILES };

struct database {
	sqlite3 *handle;
	char *state_dir;
	int64_t max_bytes;
	bool waits_for_disk;
	int lock; /* see write_lock.h; -1: not open */
	struct log_sync *sync; /* NULL: the disk is not waited for */
	bool has_waited; /* for the write lock */
	bool is_in_doubt; /* pages of the log may be lost, though the kernel takes them for clean */
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
	struct timespec changed; /* the directory, when it was last looked at */
	int64_t changed_ms,
		looked_ms; /* monotonic: since then it looks like that; the last look at all */
	int64_t doubtful_ms; /* monotonic, since what is there now is not what it was; 0: it is */
	ino_t doubtful_inode; /* of the file of the database that is there; 0: none */
	bool was_behind; /* when the lock file was left: see opening_is_behind */
	int lost; /* see database_times_lost */
	struct log_repeat trouble; /* with making it anew */
};

/* Opens and takes the write lock, in the place of the one that was open. */
enum database_status opening_lock(struct database *database, int64_t deadline_ms,
				  char why[DATABASE_WHY_SIZE]);

/* The same for the lock file of database_sync. */
enum database_status opening_sync(struct database *database, char why[DATABASE_WHY_SIZE]);

enum opening {
	OPENING_NEW, /* the file is made if there is none */
	OPENING_ANY, /* it may be another database than the one that was open */
	OPENING_SAME /* it may not */
};

/* With the write lock held: opens the file that is there now, brings its schema up to date, and
 * puts it in the place of the one that was open. Waits at most `wait_ms` for SQLite's locks.
 * Returns an SQLite result; after a failure the old one stays. SQLITE_ABORT: files were deleted
 * meanwhile. SQLITE_NOTFOUND: it lacks events of the old one. */
int opening_file(struct database *database, int64_t wait_ms, enum opening how,
		 char why[DATABASE_WHY_SIZE]);

/* With the write lock held: true when others have opened a later file of the database, so that this
 * one may lack what was committed since. */
bool opening_is_behind(const struct database *database);

/* True when something is missing that belongs to what is there, or to what others may have open: a
 * log, or everything; `mend` removes what is left. */
bool opening_is_torn(const struct database *database, bool others_may_have_it, bool mend);

/* Cheap enough for each write: as a rule the directory tells by itself that nothing has changed. */
bool database_is_in_place(struct database *database);

/* With the write lock held, at least the old one: makes the connection anew because it is
 * not in its place. A reader leaves it to a writer to put files back: then it is DATABASE_BUSY. */
enum database_status restore(struct database *database, int64_t deadline_ms, bool is_writer);

#endif
