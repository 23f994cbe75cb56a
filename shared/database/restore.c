/*
 * When the files of the database are no longer where this connection opened them, see database.h.
 * Called with the write lock held, so by one at a time. State: the connection's. May block on the
 * disk.
 *
 * What is open is still whole, and every process that had it open shares it: the file of the
 * database, the log with the latest commits, and the log's index. Whoever comes first writes the
 * first two anew, from what it holds, and puts them where they belong; the index is made again from
 * the log. The file of the database is a new one even if only the log was gone, because that is how
 * those who come later see that somebody has been here: they find another file, and open it. If
 * that one goes too, they lack what it had, which the lock's file tells them, and leave it to those
 * who have it. Whoever finds a database that a person has put there opens it as well; the log that
 * belongs to the one before must not be taken for its log then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"
#include "shared/database/database_internal.h"

enum {
	ATTEMPTS = 3, /* somebody may go on deleting */
	SETTLED_MS = 20, /* a directory's time has no finer steps */
	CHUNK_SIZE = 65536
};

bool database_is_in_place(struct database *database)
{
	int64_t now_ms = clock_monotonic_ms();
	struct timespec *changed = &database->changed;
	struct stat directory = {0};

	if (stat(database->state_dir, &directory) != 0 ||
	    directory.st_ino != database->files[DIRECTORY].inode ||
	    directory.st_mtim.tv_sec != changed->tv_sec ||
	    directory.st_mtim.tv_nsec != changed->tv_nsec)
		database->changed_ms = now_ms;
	else if (database->looked_ms - database->changed_ms >= SETTLED_MS)
		return true;
	*changed = directory.st_mtim;
	database->looked_ms = now_ms;
	for (size_t i = 0; i < FILES; i++)
		if (held_file_look(&database->files[i]) != HELD_FILE_IN_PLACE) {
			database->changed_ms = now_ms;
			return false;
		}
	return true;
}

/* A new file with what is open. */
static bool write_anew(sqlite3_file *from, const char *path)
{
	char *chunk = xcalloc(1, CHUNK_SIZE); /* its own: several threads of a gateway write */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	sqlite3_int64 size = 0;
	bool good = fd >= 0 && from && from->pMethods &&
		    from->pMethods->xFileSize(from, &size) == SQLITE_OK;

	for (sqlite3_int64 at = 0; at < size && good; at += CHUNK_SIZE) {
		int len = size - at < CHUNK_SIZE ? (int)(size - at) : CHUNK_SIZE;

		good = from->pMethods->xRead(from, chunk, len, at) == SQLITE_OK &&
		       write(fd, chunk, (size_t)len) == len;
	}
	good = good && fdatasync(fd) == 0;
	if (fd >= 0)
		close(fd);
	free(chunk);
	return good;
}

/* Both or, if that fails before the last moment, neither. */
static bool put_back(struct database *database)
{
	static const struct {
		enum database_file file;
		int pointer;
	} rows[] = {{LOG_FILE, SQLITE_FCNTL_JOURNAL_POINTER},
		    {MAIN_FILE, SQLITE_FCNTL_FILE_POINTER}};
	enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
	char paths[ROWS][STATE_DIR_PATH_SIZE];
	bool good = true;
	int error;

	for (size_t i = 0; i < ROWS; i++) {
		sqlite3_file *file = NULL;

		snprintf(paths[i], sizeof(paths[i]), "%s-new", database->files[rows[i].file].path);
		sqlite3_file_control(database->handle, "main", rows[i].pointer, &file);
		good = good && write_anew(file, paths[i]);
	}
	error = errno;
	if (good)
		remove(database->files[INDEX_FILE].path);
	for (size_t i = 0; i < ROWS; i++) {
		if (good && rename(paths[i], database->files[rows[i].file].path) != 0) {
			error = errno;
			good = false;
		}
		if (!good)
			unlink(paths[i]);
	}
	errno = error;
	return good;
}

/* Opens what is there now, or what is open, if that is not there any more. Another database that
 * lacks what was committed here may be one that a person has put there, or ours, of which somebody
 * goes on deleting files: those who have it open get the time to put them back. What a person has
 * put there and that is no database is moved aside. */
static enum database_status reopen(struct database *database,
				   const enum held_file_state states[FILES], int64_t deadline_ms,
				   bool is_writer, char why[DATABASE_WHY_SIZE])
{
	const char *path = database->files[MAIN_FILE].path;
	int64_t now_ms = clock_monotonic_ms(), left_ms = deadline_ms - now_ms;
	char aside[STATE_DIR_PATH_SIZE];
	struct stat info;
	bool is_behind = opening_is_behind(database), is_over;
	int result = SQLITE_NOTADB;

	left_ms = left_ms > 0 ? left_ms : 0;
	ino_t inode = stat(path, &info) == 0 ? info.st_ino : 0;
	if (database->doubtful_ms == 0 || database->doubtful_inode != inode)
		database->doubtful_ms = now_ms;
	database->doubtful_inode = inode;
	is_over = now_ms - database->doubtful_ms >= opening_patience_ms;
	if (states[MAIN_FILE] == HELD_FILE_REPLACED) {
		/* The log and the index of the one before are not its own. */
		for (size_t i = INDEX_FILE; i >= LOG_FILE; i--)
			if (states[i] == HELD_FILE_IN_PLACE)
				unlink(database->files[i].path);
		if (opening_is_torn(database, false, is_over) && !is_over)
			return DATABASE_BUSY;
		if (stat(path, &info) == 0 && info.st_size > 0)
			result = opening_file(database, left_ms,
					      is_over ? OPENING_ANY : OPENING_SAME, why);
		if (result == SQLITE_NOTFOUND)
			return DATABASE_BUSY;
		if (result != SQLITE_NOTADB)
			return database_status_of(result);
	}
	/* It takes a while, and a sync of the disk; and what others have may be newer. */
	if (!is_writer || (is_behind && !is_over))
		return DATABASE_BUSY;
	if (states[MAIN_FILE] == HELD_FILE_REPLACED) {
		snprintf(aside, sizeof(aside), "%s-aside", path);
		rename(path, aside);
	}
	for (int i = 0; i < ATTEMPTS && result != SQLITE_OK; i++) {
		if (!put_back(database)) {
			snprintf(why, DATABASE_WHY_SIZE, "cannot write it anew: %s",
				 strerror(errno));
			return errno == ENOSPC || errno == EDQUOT ? DATABASE_FULL : DATABASE_ERROR;
		}
		result = opening_file(database, left_ms, is_behind ? OPENING_ANY : OPENING_SAME,
				      why);
	}
	return database_status_of(result);
}

static void look(struct database *database, enum held_file_state states[FILES], bool is_writer)
{
	for (size_t i = 0; i < FILES; i++) {
		states[i] = held_file_look(&database->files[i]);
		if (is_writer)
			held_file_note(&database->files[i], states[i]);
	}
}

enum database_status restore(struct database *database, int64_t deadline_ms, bool is_writer)
{
	enum held_file_state states[FILES];
	enum database_status status = DATABASE_OK;
	char why[DATABASE_WHY_SIZE];

	look(database, states, is_writer);
	if (!state_dir_prepare(database->state_dir, false, why, sizeof(why)))
		status = DATABASE_ERROR;
	if (status == DATABASE_OK && states[LOCK_FILE] != HELD_FILE_IN_PLACE)
		status = opening_lock(database, deadline_ms, why);
	if (status == DATABASE_OK && states[SYNC_FILE] != HELD_FILE_IN_PLACE)
		status = opening_sync(database, why);
	if (status == DATABASE_OK) {
		look(database, states, false); /* now that nobody else is at work */
		if (states[MAIN_FILE] != HELD_FILE_IN_PLACE ||
		    states[LOG_FILE] != HELD_FILE_IN_PLACE ||
		    states[INDEX_FILE] != HELD_FILE_IN_PLACE)
			status = reopen(database, states, deadline_ms, is_writer, why);
		else /* another directory may have the same files */
			held_file_take(&database->files[DIRECTORY], database->state_dir,
				       "state_dir", 0700);
	}
	if (is_writer && status == DATABASE_OK) {
		log_repeat_ends(&database->trouble, clock_monotonic_ms(), "database open again");
		look(database, states, true);
	} else if (is_writer && status != DATABASE_BUSY) {
		log_repeat_event(&database->trouble, clock_monotonic_ms(), log_text("why", why));
	}
	return status;
}
