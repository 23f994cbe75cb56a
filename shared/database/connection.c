/*
 * A connection from its opening to its end, see database.h. State: in the struct of
 * database_internal.h. May block on locks and on the disk. Failures come back as a status.
 */
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"
#include "shared/database/database_internal.h"
#include "shared/database/generation.h"
#include "shared/database/log_sync.h"
#include "shared/database/write_lock.h"

static bool open_latest(struct database *database, int64_t wait_ms, char why[DATABASE_WHY_SIZE])
{
	enum { NAP_US = 20000 };
	int64_t deadline_ms = clock_monotonic_ms() + wait_ms;
	bool is_over = false;

	for (;; usleep(NAP_US)) {
		enum database_status status =
			generation_lock(database, clock_monotonic_ms() + wait_ms, true, why);
		if (status == DATABASE_BUSY && clock_monotonic_ms() < deadline_ms)
			continue; /* its file has gone meanwhile */
		if (status != DATABASE_OK)
			return false;
		int result = restore_latest(database, wait_ms, true, &is_over, why);
		if (result != SQLITE_ABORT || is_over)
			return result == SQLITE_OK;
		write_lock_release(database->lock);
	}
}

struct database *database_open(const struct config *config, int64_t wait_ms,
			       char why[DATABASE_WHY_SIZE])
{
	struct database *database = xcalloc(1, sizeof(*database));

	why[0] = '\0';
	database->trouble =
		(struct log_repeat){.level = LOG_ERROR, .message = "cannot restore the database"};
	database->state_dir = xstrdup(config->state_dir);
	database->home = generation_home(config->state_dir);
	database->max_bytes = config->database_max_bytes;
	database->waits_for_disk = config->durability == CONFIG_DURABILITY_FULL;
	database->lock = -1;
	if (state_dir_prepare(config->state_dir, false, why, DATABASE_WHY_SIZE) &&
	    open_latest(database, wait_ms, why) &&
	    (!database->waits_for_disk || opening_sync(database, why) == DATABASE_OK)) {
		write_lock_release(database->lock);
		return database;
	}
	database_close(database);
	return NULL;
}

void database_close(struct database *database)
{
	if (!database)
		return;
	opening_close(database->handle);
	if (database->lock >= 0)
		close(database->lock);
	log_sync_close(database->sync);
	for (size_t i = 0; i < FILES; i++)
		held_file_release(&database->files[i]);
	free(database->prepared);
	free(database->state_dir);
	free(database);
}

sqlite3 *database_handle(struct database *database)
{
	return database->handle;
}

enum database_status database_read_numbers(sqlite3_stmt *statement, int64_t *numbers, int count)
{
	enum database_status status = database_status_of(sqlite3_step(statement));

	for (int i = 0; i < count && status == DATABASE_OK; i++)
		numbers[i] = sqlite3_column_int64(statement, i);
	sqlite3_reset(statement);
	return status;
}

enum database_status database_run(sqlite3_stmt *statement)
{
	return database_read_numbers(statement, NULL, 0);
}

bool database_is_prepared(const struct database *database, char why[DATABASE_WHY_SIZE])
{
	memcpy(why, database->fault, sizeof(database->fault));
	return !database->fault[0];
}

static bool has_transaction(struct database *database)
{
	return sqlite3_get_autocommit(database->handle) == 0;
}

/* A transaction that stayed open would swallow what is written next, and keep everybody else from
 * writing. */
static bool roll_back(struct database *database)
{
	if (has_transaction(database)) {
		snprintf(database->rolled_back_for, DATABASE_WHY_SIZE, "%s",
			 sqlite3_errmsg(database->handle));
		sqlite3_step(database->roll_back);
		sqlite3_reset(database->roll_back);
	}
	if (has_transaction(database)) /* somebody else's BEGIN */
		sqlite3_exec(database->handle, "ROLLBACK", NULL, NULL, NULL);
	return !has_transaction(database);
}

/* Our own writers queue at the write lock: all that may still be in the way is somebody's sqlite3.
 */
static void wait_for_others(struct database *database, int64_t deadline_ms)
{
	int64_t left_ms = deadline_ms - clock_monotonic_ms();

	sqlite3_busy_timeout(database->handle, left_ms > 0 ? (int)left_ms : 0);
}

enum database_status database_write_begin(struct database *database, int64_t deadline_ms)
{
	enum database_status status = DATABASE_OK;
	bool is_free = write_lock_try(database->lock);

	database->rolled_back_for[0] = '\0';
	database->has_waited |= !is_free;
	if (!is_free && !write_lock_take(database->lock, deadline_ms))
		return DATABASE_BUSY;
	if (!database_is_in_place(database))
		status = restore(database, deadline_ms, true);
	wait_for_others(database, deadline_ms);
	if (status == DATABASE_OK && !roll_back(database))
		status = DATABASE_ERROR;
	if (status != DATABASE_OK)
		write_lock_release(database->lock);
	return status;
}

enum database_status database_look_after(struct database *database, int64_t deadline_ms)
{
	enum database_status status;

	database->looked_ms = 0; /* so that each file is looked at */
	if (database_is_in_place(database))
		return DATABASE_OK;
	status = database_write_begin(database, deadline_ms);
	if (status == DATABASE_OK)
		database_write_end(database);
	return status;
}

bool database_refresh(struct database *database)
{
	enum { WAIT_MS = 20 };
	int64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;
	enum database_status status;

	if (database_is_in_place(database) || !write_lock_take(database->lock, deadline_ms))
		return false;
	status = restore(database, deadline_ms, false);
	write_lock_release(database->lock);
	return status == DATABASE_OK;
}

int database_times_lost(const struct database *database)
{
	return database->lost;
}

/* The way back is prepared first, because later there may be no memory for it; and each time,
 * because SQLite prepares it again when it could not read a changed schema. */
enum database_status database_begin(struct database *database)
{
	int result;

	sqlite3_finalize(database->roll_back);
	result = sqlite3_prepare_v2(database->handle, "ROLLBACK", -1, &database->roll_back, NULL);
	if (result == SQLITE_OK)
		result = sqlite3_exec(database->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	return database_status_of(result);
}

void database_write_end(struct database *database)
{
	roll_back(database);
	sqlite3_busy_timeout(database->handle, 0);
	write_lock_release(database->lock);
}

bool database_is_crowded(struct database *database)
{
	bool is_crowded = database->has_waited && !database->sync;

	database->has_waited = false;
	return is_crowded;
}

const char *database_error(struct database *database)
{
	return sqlite3_errcode(database->handle) == SQLITE_OK ? database->rolled_back_for
							      : sqlite3_errmsg(database->handle);
}

int64_t database_wal_bytes(const struct database *database)
{
	return database->wal_bytes;
}

bool database_log_is_full(const struct database *database)
{
	return database->wal_bytes >= database->max_bytes;
}

/* Whoever reads holds one of five locks on bytes of the log's index (walformat.html of SQLite). To
 * open it here would give up our own locks on it. */
int64_t database_find_reader(const struct database *database)
{
	enum { FIRST_BYTE = 123, BYTES = 5, LINE_SIZE = 160 };
	FILE *locks = fopen("/proc/locks", "re");
	char line[LINE_SIZE], pid[LINE_SIZE], file[LINE_SIZE], byte[LINE_SIZE];
	int64_t reader = 0;

	while (locks && reader == 0 && fgets(line, sizeof(line), locks)) {
		if (sscanf(line, "%*s POSIX %*s READ %159s %159s %159s", pid, file, byte) != 3 ||
		    !strrchr(file, ':'))
			continue;
		int64_t at = strtoll(byte, NULL, 10) - FIRST_BYTE;
		if (strtoull(strrchr(file, ':') + 1, NULL, 10) ==
			    database->files[INDEX_FILE].inode &&
		    at >= 0 && at < BYTES && strtoll(pid, NULL, 10) != getpid())
			reader = strtoll(pid, NULL, 10);
	}
	if (locks)
		fclose(locks);
	return reader;
}

/* Syncs the log. The kernel reports a page that it could not write once to each descriptor that is
 * open then, and takes the page for clean: another sync would succeed without having written it. So
 * the log is written again after a failure, and the first time, because there may have been one
 * before we came. Needs the write lock when the log is in doubt. */
static enum database_status sync_log(struct database *database)
{
	int result = SQLITE_OK;

	if (database->is_in_doubt) {
		enum database_status status = database_begin(database);

		if (status != DATABASE_OK)
			return status;
		result = log_sync_rewrite(database->handle);
		roll_back(database);
	}
	if (result == SQLITE_OK)
		result = log_sync_now(database->handle);
	database->is_in_doubt = result != SQLITE_OK;
	return database_status_of(result);
}

enum database_status database_sync(struct database *database, int64_t deadline_ms)
{
	enum database_status status = DATABASE_OK;
	enum log_sync_turn turn;

	if (!database->sync)
		return DATABASE_OK;
	turn = log_sync_begin(database->sync, deadline_ms);
	if (turn == LOG_SYNC_LATE)
		return DATABASE_BUSY;
	if (turn == LOG_SYNC_OURS) {
		bool needs_lock = database->is_in_doubt;

		if (needs_lock && !write_lock_take(database->lock, deadline_ms))
			status = DATABASE_BUSY;
		wait_for_others(database, deadline_ms);
		if (status == DATABASE_OK)
			status = sync_log(database);
		if (needs_lock)
			database_write_end(database);
		log_sync_end(database->sync, status == DATABASE_OK);
	}
	/* A log that somebody has deleted meanwhile is not on any disk. */
	return status == DATABASE_OK && !database_is_in_place(database) ? DATABASE_ERROR : status;
}

enum database_status database_checkpoint(struct database *database, int64_t deadline_ms)
{
	int in_log = 0, copied = 0;
	/* Most of the log, before anybody has to wait for it. */
	enum database_status status = database->is_in_doubt ? DATABASE_OK : sync_log(database);

	if (status == DATABASE_OK)
		status = database_write_begin(database, deadline_ms);
	if (status != DATABASE_OK)
		return status;
	if (database->sync && database->is_in_doubt)
		status = sync_log(database); /* what is copied must be able to be copied again */
	/* None of ours can commit now. PASSIVE never waits for readers; what they still need is
	 * left for next time. */
	if (status == DATABASE_OK)
		status = database_status_of(sqlite3_wal_checkpoint_v2(
			database->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied));
	database->is_in_doubt |= status == DATABASE_ERROR;
	database_write_end(database);
	if (status == DATABASE_OK)
		database->wal_bytes = copied < in_log ? in_log * database->page_bytes : 0;
	return status;
}
