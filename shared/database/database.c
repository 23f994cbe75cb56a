/*
 * The SQLite connection, see database.h: making one (the state_dir, the write lock, the file, its
 * pragmas and migrations), and using it. State: the connection, the write lock, and what the last
 * commit left in the write-ahead log. May block: on locks and on the disk, when opening for
 * seconds. Failures come back as a status; one while opening leaves nothing open.
 */
#include "shared/database/database.h"

#include <errno.h>
#include <sys/stat.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/file_identity.h"
#include "shared/database/log_sync.h"
#include "shared/database/migration.h"
#include "shared/base/state_dir.h"
#include "shared/database/write_lock.h"

#define DATABASE_NAME "worker.db"
#define LOCK_NAME "write.lock"
#define SYNC_NAME "sync.lock"

enum {
	START_WAIT_MS = 10000, /* for others that migrate at the same time */
	REASON_SIZE = 200
};

/* The files that make up the database. */
enum { MAIN_FILE, LOG_FILE, LOCK_FILE, FILES };

struct database {
	sqlite3 *handle;
	char *paths[FILES];
	struct file_identity files[FILES];
	struct write_lock *lock;
	struct log_sync *sync; /* NULL: the disk is not waited for */
	bool has_waited; /* for the write lock */
	bool is_in_doubt; /* pages of the log may be lost, though the kernel takes them for clean */
	sqlite3_stmt *roll_back; /* of the last database_begin; NULL: there was none */
	int wal_pages;
	char fault[DATABASE_WHY_SIZE]; /* why a statement could not be prepared; "": all could */
};

static bool execute(struct database *database, const char *sql)
{
	return sqlite3_exec(database->handle, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* SQLite's own checkpoint after a commit is off: this only remembers how long the log is. */
static int remember_wal_pages(void *context, sqlite3 *handle, const char *name, int pages)
{
	struct database *database = context;

	(void)handle;
	(void)name;
	database->wal_pages = pages;
	return SQLITE_OK;
}

/* NORMAL: a commit does not wait for the disk; database_sync does, when that is wanted. */
static bool set_pragmas(struct database *database)
{
	sqlite3 *handle = database->handle;

	sqlite3_extended_result_codes(handle, 1);
	/* Closing the last connection would take a checkpoint without asking for the write lock. */
	sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return execute(database, "PRAGMA wal_autocheckpoint = 0;" /* before there is a log */
				 "PRAGMA journal_mode = WAL;"
				 "PRAGMA journal_size_limit = 33554432;"
				 "PRAGMA mmap_size = 0;"
				 "PRAGMA secure_delete = FAST;"
				 "PRAGMA cache_size = -1024;"
				 "PRAGMA temp_store = MEMORY;"
				 "PRAGMA synchronous = NORMAL;") &&
	       /* After the pragmas: wal_autocheckpoint installs a hook of its own. */
	       (sqlite3_wal_hook(handle, remember_wal_pages, database), true);
}

/* Of the whole file, for this connection's writes: beyond it they are DATABASE_FULL. */
static bool limit_size(struct database *database, int64_t max_bytes)
{
	enum { PAGE_BYTES = 4096 };
	char pragma[64];

	snprintf(pragma, sizeof(pragma), "PRAGMA max_page_count = %lld",
		 (long long)(max_bytes / PAGE_BYTES));
	return execute(database, pragma);
}

/* Switching to WAL can fail without an error: the mode that is kept is the answer then. */
static bool has_log(struct database *database)
{
	sqlite3_stmt *statement = NULL;
	const char *mode = NULL;

	if (sqlite3_prepare_v2(database->handle, "PRAGMA journal_mode", -1, &statement, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		mode = (const char *)sqlite3_column_text(statement, 0);
	bool has = mode && strcmp(mode, "wal") == 0;
	sqlite3_finalize(statement);
	return has;
}

/* Into memory, while we may still wait. */
static bool read_schema(struct database *database, char why[DATABASE_WHY_SIZE])
{
	if (execute(database, "SELECT 1 FROM sqlite_schema LIMIT 1"))
		return true;
	snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s", database_error(database));
	return false;
}

/* The pragmas turn a new file into a WAL database and the migrations fill it: both are writes. */
static bool prepare_file(struct database *database, const struct config *config, int64_t wait_ms,
			 char why[DATABASE_WHY_SIZE])
{
	bool good = false;

	if (!write_lock_take(database->lock, clock_monotonic_ms() + wait_ms)) {
		snprintf(why, DATABASE_WHY_SIZE, "another process holds the write lock");
		return false;
	}
	sqlite3_busy_timeout(database->handle, (int)wait_ms);
	if (!set_pragmas(database) || !limit_size(database, config->database_max_bytes))
		snprintf(why, DATABASE_WHY_SIZE, "cannot open the database: %s",
			 database_error(database));
	else if (!has_log(database))
		snprintf(why, DATABASE_WHY_SIZE,
			 "the database has no write-ahead log: somebody holds it open in another "
			 "mode, or the file system cannot share memory");
	else
		good = migration_run(database->handle, why, DATABASE_WHY_SIZE) &&
		       read_schema(database, why);
	database_write_end(database);
	return good;
}

static bool refuse_file(const char *name, const char *path, int error, char why[DATABASE_WHY_SIZE])
{
	char reason[REASON_SIZE];

	state_dir_explain(path, error, reason, sizeof(reason));
	snprintf(why, DATABASE_WHY_SIZE, "cannot open %s in the state_dir: %s", name, reason);
	return false;
}

static bool open_locks(struct database *database, const struct config *config,
		       char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];

	if (state_dir_file(config->state_dir, LOCK_NAME, path))
		database->lock = write_lock_open(path);
	if (!database->lock)
		return refuse_file(LOCK_NAME, path, errno, why);
	if (config->durability != CONFIG_DURABILITY_FULL)
		return true;
	if (state_dir_file(config->state_dir, SYNC_NAME, path))
		database->sync = log_sync_open(path);
	database->is_in_doubt = true;
	return database->sync || refuse_file(SYNC_NAME, path, errno, why);
}

/* SQLite opens a file that it may not write as read-only: for us that is a failure. */
static bool open_file(struct database *database, const char *state_dir, char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	mode_t old_mask;
	int result, error;

	if (!state_dir_file(state_dir, DATABASE_NAME, path))
		return false; /* LOCK_NAME is longer, and was opened */
	old_mask = umask(0177); /* SQLite gives the log and its index the mode of the database */
	result = sqlite3_open_v2(path, &database->handle,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_PRIVATECACHE,
				 NULL);
	umask(old_mask);
	if (result == SQLITE_OK && sqlite3_db_readonly(database->handle, "main") == 0)
		return true;
	error = result == SQLITE_OK ? EACCES : sqlite3_system_errno(database->handle);
	if (error != 0)
		return refuse_file(DATABASE_NAME, path, error, why);
	snprintf(why, DATABASE_WHY_SIZE, "cannot open " DATABASE_NAME " in the state_dir: %s",
		 sqlite3_errstr(result));
	return false;
}

static void remember_files(struct database *database, const char *state_dir)
{
	const char *path = sqlite3_db_filename(database->handle, "main");
	char lock[STATE_DIR_PATH_SIZE];

	database->paths[MAIN_FILE] = xstrdup(path);
	database->paths[LOG_FILE] = xstrdup(sqlite3_filename_wal(path));
	state_dir_file(state_dir, LOCK_NAME, lock);
	database->paths[LOCK_FILE] = xstrdup(lock);
	for (size_t i = 0; i < FILES; i++)
		database->files[i] = file_identity_of(database->paths[i]);
}

struct database *database_open_within(const struct config *config, int64_t wait_ms,
				      char why[DATABASE_WHY_SIZE])
{
	struct database *database = xcalloc(1, sizeof(*database));

	why[0] = '\0';
	if (state_dir_prepare(config->state_dir, why, DATABASE_WHY_SIZE) &&
	    open_locks(database, config, why) && open_file(database, config->state_dir, why) &&
	    prepare_file(database, config, wait_ms, why))
		remember_files(database, config->state_dir);
	else {
		database_close(database);
		database = NULL;
	}
	return database;
}

struct database *database_open(const struct config *config, char why[DATABASE_WHY_SIZE])
{
	return database_open_within(config, START_WAIT_MS, why);
}

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
	for (sqlite3_stmt *left;
	     database->handle && (left = sqlite3_next_stmt(database->handle, NULL));)
		sqlite3_finalize(left);
	sqlite3_close(database->handle);
	write_lock_close(database->lock);
	log_sync_close(database->sync);
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

enum database_status database_write_begin(struct database *database, int64_t deadline_ms)
{
	bool is_free = write_lock_try(database->lock);

	database->has_waited |= !is_free;
	if (!is_free && !write_lock_take(database->lock, deadline_ms))
		return DATABASE_BUSY;

	/* Our own writers queue at the lock: all that may still be in the way is somebody's
	 * sqlite3. */
	int64_t left_ms = deadline_ms - clock_monotonic_ms();
	sqlite3_busy_timeout(database->handle, left_ms > 0 ? (int)left_ms : 0);
	if (roll_back(database))
		return DATABASE_OK;
	write_lock_release(database->lock);
	return DATABASE_ERROR;
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
	static const char *const texts[] = {
		[DATABASE_OK] = "ok",
		[DATABASE_BUSY] = "database is locked",
		[DATABASE_FULL] = "database or disk is full",
		[DATABASE_ERROR] = "database error",
	};

	return texts[status];
}

const char *database_error(struct database *database)
{
	return sqlite3_errmsg(database->handle);
}

int database_wal_pages(const struct database *database)
{
	return database->wal_pages;
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

static enum database_status sync_for_all(struct database *database, int64_t deadline_ms)
{
	enum database_status status;

	if (!database->is_in_doubt)
		return sync_log(database);
	status = database_write_begin(database, deadline_ms);
	if (status == DATABASE_OK) {
		status = sync_log(database);
		database_write_end(database);
	}
	return status;
}

enum database_status database_sync(struct database *database, int64_t deadline_ms)
{
	enum database_status status = DATABASE_OK;

	if (!database->sync)
		return DATABASE_OK;
	switch (log_sync_begin(database->sync, deadline_ms)) {
	case LOG_SYNC_COVERED:
		break;
	case LOG_SYNC_LATE:
		return DATABASE_BUSY;
	case LOG_SYNC_OURS:
		status = sync_for_all(database, deadline_ms);
		log_sync_end(database->sync, status == DATABASE_OK);
	}
	/* A log that somebody has deleted meanwhile is not on any disk. */
	return status == DATABASE_OK && !database_is_in_place(database) ? DATABASE_ERROR : status;
}

enum database_status database_checkpoint(struct database *database, int64_t deadline_ms)
{
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
			database->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
	database->is_in_doubt |= status == DATABASE_ERROR;
	database_write_end(database);
	if (status == DATABASE_OK)
		database->wal_pages = 0; /* until the next commit tells */
	return status;
}
