/*
 * Using the SQLite connection, see database.h. State: the connection, the write lock, and what the
 * last commit left in the write-ahead log. May block: on the write lock and on the disk. Failures
 * come back as a status. database_open.c makes the connection.
 */
#include "shared/database/database_internal.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

bool database_is_in_place(const struct database *database)
{
	for (size_t i = 0; i < FILES; i++)
		if (!file_identity_same(database->files[i], file_identity_of(database->paths[i])))
			return false;
	return true;
}

void database_close(struct database *database)
{
	if (!database)
		return;
	sqlite3_finalize(database->roll_back);
	sqlite3_close(database->handle);
	write_lock_close(database->lock);
	for (size_t i = 0; i < FILES; i++)
		free(database->paths[i]);
	free(database);
}

sqlite3 *database_handle(struct database *database)
{
	return database->handle;
}

sqlite3_stmt *database_prepare(struct database *database, const char *sql)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v3(database->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
			       NULL) != SQLITE_OK &&
	    !database->fault[0])
		snprintf(database->fault, sizeof(database->fault), "cannot prepare a statement: %s",
			 database_error(database));
	return statement;
}

enum database_status database_run(sqlite3_stmt *statement)
{
	enum database_status status = database_status_of(sqlite3_step(statement));

	sqlite3_reset(statement);
	return status;
}

enum database_status database_read_numbers(sqlite3_stmt *statement, int64_t *numbers, int count)
{
	enum database_status status = database_status_of(sqlite3_step(statement));

	for (int i = 0; i < count && status == DATABASE_OK; i++)
		numbers[i] = sqlite3_column_int64(statement, i);
	sqlite3_reset(statement);
	return status;
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

static bool execute(struct database *database, const char *sql)
{
	return sqlite3_exec(database->handle, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* A transaction that stayed open would swallow what is written next, and keep everybody else from
 * writing. */
static bool roll_back(struct database *database)
{
	if (has_transaction(database)) {
		sqlite3_step(database->roll_back);
		sqlite3_reset(database->roll_back);
	}
	if (has_transaction(database)) /* somebody else's BEGIN */
		execute(database, "ROLLBACK");
	return !has_transaction(database);
}

static enum database_status enter(struct database *database, int64_t wait_ms)
{
	sqlite3_busy_timeout(database->handle, wait_ms > 0 ? (int)wait_ms : 0);
	if (roll_back(database))
		return DATABASE_OK;
	write_lock_release(database->lock);
	return DATABASE_ERROR;
}

enum database_status database_write_begin(struct database *database, int64_t deadline_ms)
{
	if (!write_lock_take(database->lock, deadline_ms))
		return DATABASE_BUSY;

	/* Our own writers queue at the lock: what may still be in the way is a person's sqlite3. */
	return enter(database, deadline_ms - clock_monotonic_ms());
}

enum database_status database_write_try(struct database *database)
{
	if (!write_lock_try(database->lock))
		return DATABASE_BUSY;
	return enter(database, 0);
}

/* The way back is made first, because later there may be no memory for it; and each time, because
 * SQLite prepares it anew when it could not read a schema that was changed. */
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

enum database_status database_status_of(int result)
{
	if (result == SQLITE_IOERR_SHMSIZE) /* the log's index could not grow: the disk again */
		return DATABASE_FULL;
	switch (result & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return DATABASE_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return DATABASE_BUSY;
	case SQLITE_FULL:
		return DATABASE_FULL;
	default:
		return DATABASE_ERROR;
	}
}

const char *database_status_text(enum database_status status)
{
	switch (status) {
	case DATABASE_OK:
		return "ok";
	case DATABASE_BUSY:
		return "database is locked";
	case DATABASE_FULL:
		return "database or disk is full";
	case DATABASE_ERROR:
		break;
	}
	return "database error";
}

const char *database_error(struct database *database)
{
	return sqlite3_errmsg(database->handle);
}

int database_wal_pages(const struct database *database)
{
	return database->wal_pages;
}

enum database_status database_checkpoint(struct database *database, int64_t deadline_ms)
{
	enum database_status status = deadline_ms ? database_write_begin(database, deadline_ms)
						  : database_write_try(database);

	if (status != DATABASE_OK)
		return status;
	/* Nobody of ours can commit now. PASSIVE: it never waits for readers; what they still need
	 * is left for next time. */
	status = database_status_of(sqlite3_wal_checkpoint_v2(
		database->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
	database_write_end(database);
	if (status == DATABASE_OK)
		database->wal_pages = 0; /* until the next commit tells */
	return status;
}
