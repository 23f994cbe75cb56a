/*
 * What to do when the files of the database are no longer where this connection opened them, see
 * database.h; and which ones a program that starts has to open. Called with the write lock held, so
 * by one process at a time. State: the connection's. May block on the disk.
 *
 * What was opened last (see generation.h) has everything that was ever acknowledged, and whoever
 * has it open has it whole, deleted or not: the file of the database, the log with the latest
 * commits, and the log's index. If one of them is missing, the process that comes first writes the
 * first two anew, whether it has them open itself or not, and puts them where they belong; the
 * index is made again from the log. The file of the database is a new one even if only the log was
 * gone, because that is how those who come later see that somebody has been here: they open what is
 * there now. A database that a person has put there is opened as well; the log that belongs to the
 * one before must not be taken for its log then.
 *
 * A process in another container, or without /proc, finds nobody: those who have the files open get
 * some time to put them back themselves. After that it takes what is left, and ids jump ahead.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"
#include "shared/database/database_internal.h"
#include "shared/database/generation.h"

enum {
	SETTLED_MS = 20, /* changes within this time may leave a directory's time the same */
	CHUNK_SIZE = 65536
};

int64_t opening_patience_ms = 1500;

bool database_is_in_place(struct database *database)
{
	int64_t now_ms = clock_monotonic_ms();
	struct timespec *changed = &database->changed;
	struct stat directory = {0};

	if (stat(database->state_dir, &directory) != 0 ||
	    directory.st_ino != database->files[DIRECTORY].inode ||
	    directory.st_ctim.tv_sec != changed->tv_sec ||
	    directory.st_ctim.tv_nsec != changed->tv_nsec)
		database->changed_ms = now_ms;
	else if (database->looked_ms - database->changed_ms >= SETTLED_MS)
		return true;
	*changed = directory.st_ctim;
	database->looked_ms = now_ms;
	for (size_t i = 0; i < FILES; i++)
		if (held_file_look(&database->files[i]) != HELD_FILE_IN_PLACE) {
			database->changed_ms = now_ms;
			return false;
		}
	database->doubtful_ms = 0;
	return true;
}

/* Closing `from` takes the locks that SQLite has on that file in this process (fcntl(2)): they
 * guard nothing any more, as it is not, or not with its log and index, where others would open it.
 */
static bool copy(int from, const char *path)
{
	char *chunk = xcalloc(1, CHUNK_SIZE); /* its own: several threads of a gateway write */
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t len = to < 0 ? -1 : 0;
	bool good = to >= 0;

	while (good && (len = read(from, chunk, CHUNK_SIZE)) > 0) {
		errno = ENOSPC; /* when it is written in part */
		good = write(to, chunk, (size_t)len) == len;
	}
	good = good && len == 0 && fdatasync(to) == 0;
	if (to >= 0)
		close(to);
	free(chunk);
	return good;
}

/* Both or, if that fails before the last moment, neither. */
static bool copy_both(struct database *database, const int from[FILES], bool is_aside)
{
	char paths[FILES][STATE_DIR_PATH_SIZE], copies[FILES][STATE_DIR_PATH_SIZE + 8];
	bool good = true;
	int error;

	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++) {
		good = good && state_dir_file(database->state_dir, database_names[i], paths[i]);
		snprintf(copies[i], sizeof(copies[i]), "%s-new", paths[i]);
		good = good && (i == INDEX_FILE || copy(from[i], copies[i]));
	}
	error = errno;
	if (good)
		generation_note_copy(database, copies[MAIN_FILE]);
	if (good && is_aside) {
		snprintf(copies[INDEX_FILE], sizeof(copies[INDEX_FILE]), "%s-aside",
			 paths[MAIN_FILE]);
		rename(paths[MAIN_FILE], copies[INDEX_FILE]);
	}
	if (good)
		unlink(paths[INDEX_FILE]);
	/* The log first: without it the other would be taken for a whole one. */
	for (size_t i = LOG_FILE; i >= MAIN_FILE; i--) {
		if (good && rename(copies[i], paths[i]) != 0) {
			error = errno;
			good = false;
		}
		if (!good)
			unlink(copies[i]);
	}
	errno = error;
	return good;
}

/* Returns an SQLite result, SQLITE_NOTFOUND: nobody has it, SQLITE_CANTOPEN: it cannot be told; and
 * what is there now. `is_aside`: what a person has put there is not deleted. */
static int put_back(struct database *database, const struct generation *generation,
		    struct generation *here, bool is_aside, char why[DATABASE_WHY_SIZE])
{
	int from[FILES] = {[MAIN_FILE] = -1, [LOG_FILE] = -1};
	int result = SQLITE_NOTFOUND;

	from[LOG_FILE] = generation_open(database, generation, LOG_FILE);
	if (from[LOG_FILE] >= 0)
		from[MAIN_FILE] = generation_open(database, generation, MAIN_FILE);
	if (from[MAIN_FILE] >= 0)
		result = copy_both(database, from, is_aside)  ? SQLITE_OK
			 : errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL
							      : SQLITE_IOERR;
	else if (errno != 0)
		result = SQLITE_CANTOPEN;
	if (result != SQLITE_OK && result != SQLITE_NOTFOUND)
		snprintf(why, DATABASE_WHY_SIZE, "%s: %s",
			 result == SQLITE_CANTOPEN ? "cannot look for it" : "cannot write it anew",
			 strerror(errno));
	for (size_t i = MAIN_FILE; i <= LOG_FILE; i++)
		if (from[i] >= 0)
			close(from[i]);
	*here = generation_here(database);
	if (result == SQLITE_OK &&
	    (here->files[MAIN_FILE].inode == 0 || here->files[LOG_FILE].inode == 0)) {
		snprintf(why, DATABASE_WHY_SIZE, "somebody changes its files");
		result = SQLITE_ABORT; /* SQLite would make the log anew, without what was in it */
	}
	return result;
}

static void remove_file(struct database *database, struct generation *here, enum database_file file)
{
	char path[STATE_DIR_PATH_SIZE];

	if (state_dir_file(database->state_dir, database_names[file], path))
		unlink(path);
	here->files[file] = (struct file_id){0};
}

/* Puts back what is missing of the latest, if need be and possible, and says what is there then.
 * What is left, if it is not, must not be taken for a whole database before `is_over`.
 * SQLITE_NOTFOUND: there is none. */
static int complete(struct database *database, const struct generation *latest,
		    struct generation *here, bool is_writer, bool is_over,
		    char why[DATABASE_WHY_SIZE])
{
	bool has_main = here->files[MAIN_FILE].inode != 0, is_whole;
	bool is_another = has_main && !generation_has(here, latest, MAIN_FILE) &&
			  !file_id_is_same(&here->files[MAIN_FILE],
					   &latest->copy); /* whose log may have gone */
	bool is_known = latest->files[MAIN_FILE].inode != 0 && !is_another;
	int result = SQLITE_NOTFOUND;

	if (generation_is_same(here, latest))
		return has_main ? SQLITE_OK : SQLITE_NOTFOUND;
	if (is_known && !is_writer)
		return SQLITE_ABORT;
	if (is_known)
		result = put_back(database, latest, here, false, why);
	if (result != SQLITE_NOTFOUND)
		return result;
	for (enum database_file i = LOG_FILE; i <= INDEX_FILE && is_another; i++)
		if (generation_has(here, latest, i))
			remove_file(database, here, i); /* it is of the one before */
	if (has_main)
		is_whole = here->files[INDEX_FILE].inode == 0 ||
			   (!is_known && here->files[LOG_FILE].inode != 0);
	else
		is_whole = !is_known && here->files[LOG_FILE].inode == 0 &&
			   here->files[INDEX_FILE].inode == 0;
	if (!is_whole && !is_over)
		return SQLITE_ABORT;
	if (!is_whole)
		remove_file(database, here, INDEX_FILE);
	if (has_main)
		return SQLITE_OK;
	remove_file(database, here, LOG_FILE);
	struct generation own = generation_own(database);
	return put_back(database, &own, here, false, why);
}

int restore_latest(struct database *database, int64_t wait_ms, bool is_writer, bool *is_over,
		   char why[DATABASE_WHY_SIZE])
{
	struct generation latest = generation_latest(database), here = generation_here(database);
	struct generation own = generation_own(database);
	/* A process that has an older one open can do better than one that starts. */
	int64_t patience_ms = opening_patience_ms * (database->handle ? 1 : 2);
	int64_t now_ms = clock_monotonic_ms();
	enum opening how = OPENING_SAME;
	int result;

	if (database->doubtful_ms == 0 || database->doubtful_inode != here.files[MAIN_FILE].inode)
		database->doubtful_ms = now_ms;
	database->doubtful_inode = here.files[MAIN_FILE].inode;
	*is_over = now_ms - database->doubtful_ms >= patience_ms;
	if (*is_over || generation_is_same(&here, &latest))
		how = OPENING_ANY;
	result = complete(database, &latest, &here, is_writer, *is_over, why);
	if (result == SQLITE_NOTFOUND)
		how = OPENING_NEW;
	if (result == SQLITE_OK || result == SQLITE_NOTFOUND)
		result = opening_file(database, wait_ms, how, &here, why);
	if (result != SQLITE_NOTADB || !is_writer)
		return result;
	result = put_back(database, &latest, &here, true, why);
	if (result == SQLITE_NOTFOUND && *is_over)
		result = put_back(database, &own, &here, true, why);
	if (result == SQLITE_OK)
		result = opening_file(database, wait_ms, how, &here, why);
	return result == SQLITE_NOTFOUND ? SQLITE_NOTADB : result;
}

static void look(struct database *database, enum held_file_state states[FILES], bool is_writer)
{
	for (size_t i = 0; i < FILES; i++) {
		states[i] = held_file_look(&database->files[i]);
		if (is_writer)
			held_file_note(&database->files[i], states[i]);
	}
}

static enum database_status reopen(struct database *database, int64_t deadline_ms, bool is_writer,
				   char why[DATABASE_WHY_SIZE])
{
	int64_t left_ms = deadline_ms - clock_monotonic_ms();
	bool is_over;
	int result = restore_latest(database, left_ms > 0 ? left_ms : 0, is_writer, &is_over, why);

	return result == SQLITE_ABORT ? DATABASE_BUSY : database_status_of(result);
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
		status = generation_lock(database, deadline_ms, is_writer, why);
	if (status == DATABASE_OK && states[SYNC_FILE] != HELD_FILE_IN_PLACE)
		status = opening_sync(database, why);
	if (status == DATABASE_OK) {
		look(database, states, false); /* now that nobody else is at work */
		if (states[MAIN_FILE] != HELD_FILE_IN_PLACE ||
		    states[LOG_FILE] != HELD_FILE_IN_PLACE ||
		    states[INDEX_FILE] != HELD_FILE_IN_PLACE)
			status = reopen(database, deadline_ms, is_writer, why);
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
