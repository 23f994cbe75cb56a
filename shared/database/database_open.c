/*
 * Making a connection, see database.h: the state_dir, the write lock, the file, its pragmas and
 * migrations. No state of its own. May block for seconds, on locks and on the disk. A failure
 * leaves nothing open.
 */
#include <errno.h>
#include <sys/stat.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/database_internal.h"
#include "shared/database/migration.h"
#include "shared/database/state_dir.h"

#define DATABASE_NAME "worker.db"
#define LOCK_NAME "write.lock"

enum {
	START_WAIT_MS = 10000, /* for others that migrate at the same time */
	REASON_SIZE = 200
};

/* SQLite's own checkpoint after a commit is off: this only remembers how long the log is. */
static int remember_wal_pages(void *context, sqlite3 *handle, const char *name, int pages)
{
	struct database *database = context;

	(void)handle;
	(void)name;
	database->wal_pages = pages;
	return SQLITE_OK;
}

static bool execute(struct database *database, const char *sql)
{
	return sqlite3_exec(database->handle, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool set_pragmas(struct database *database, enum config_durability durability)
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
				 "PRAGMA temp_store = MEMORY;") &&
	       execute(database, durability == CONFIG_DURABILITY_FULL
					 ? "PRAGMA synchronous = FULL;"
					 : "PRAGMA synchronous = NORMAL;") &&
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
	if (!set_pragmas(database, config->durability) ||
	    !limit_size(database, config->database_max_bytes))
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

static bool open_lock(struct database *database, const char *state_dir, char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE], reason[REASON_SIZE];

	if (state_dir_file(state_dir, LOCK_NAME, path))
		database->lock = write_lock_open(path);
	if (!database->lock) {
		state_dir_explain(path, errno, reason, sizeof(reason));
		snprintf(why, DATABASE_WHY_SIZE, "cannot open " LOCK_NAME " in the state_dir: %s",
			 reason);
	}
	return database->lock != NULL;
}

/* SQLite opens a file that it may not write read-only: for us that is a failure. */
static bool open_file(struct database *database, const char *state_dir, char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE], reason[REASON_SIZE];
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
		state_dir_explain(path, error, reason, sizeof(reason));
	else
		snprintf(reason, sizeof(reason), "%s", sqlite3_errstr(result));
	snprintf(why, DATABASE_WHY_SIZE, "cannot open " DATABASE_NAME " in the state_dir: %s",
		 reason);
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
	    open_lock(database, config->state_dir, why) &&
	    open_file(database, config->state_dir, why) &&
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
