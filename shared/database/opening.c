/*
 * Making a connection, see database.h: the state_dir, the locks, the file, its pragmas and
 * migrations. State: the connection's. May block, on locks and on the disk, for as long as it is
 * allowed to. A failure leaves nothing open that was not before.
 *
 * Each migration is one transaction that also raises `user_version`, so a start that dies half-way
 * leaves the whole schema of an earlier version.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"
#include "shared/database/database_internal.h"
#include "shared/database/id_jumps.h"
#include "shared/database/log_sync.h"
#include "shared/database/schema.h"
#include "shared/database/sql.h"
#include "shared/database/write_lock.h"

#define DATABASE_NAME "worker.db"

enum { REASON_SIZE = 200, NAP_US = 20000 };

static const ino_t LOCK_LEFT = (ino_t)-1;

static const char *const names[FILES] = {
	[MAIN_FILE] = DATABASE_NAME,	     [LOG_FILE] = DATABASE_NAME "-wal",
	[INDEX_FILE] = DATABASE_NAME "-shm", [LOCK_FILE] = "write.lock",
	[SYNC_FILE] = "sync.lock",
};

int64_t opening_patience_ms = 1500;

static enum database_status refuse(enum database_file file, const char *path, int error,
				   char why[DATABASE_WHY_SIZE])
{
	char reason[REASON_SIZE];

	state_dir_explain(path, error, reason, sizeof(reason));
	snprintf(why, DATABASE_WHY_SIZE, "cannot open %s in the state_dir: %s", names[file],
		 reason);
	return DATABASE_ERROR;
}

/* 0: there is none. */
static ino_t inode_of(const struct database *database, enum database_file file)
{
	char path[STATE_DIR_PATH_SIZE];
	struct stat info;
	bool is_there =
		state_dir_file(database->state_dir, names[file], path) && stat(path, &info) == 0;

	return is_there ? info.st_ino : 0;
}

/* A lock file holds the inode of the file of the database that was opened last, by anybody;
 * LOCK_LEFT when another lock file has taken its place. 0: it is new. */
static ino_t latest_of(int lock)
{
	ino_t inode = 0;

	return pread(lock, &inode, sizeof(inode), 0) == sizeof(inode) ? inode : 0;
}

static void note_latest(int lock, ino_t inode)
{
	if (latest_of(lock) != inode)
		(void)!pwrite(lock, &inode, sizeof(inode), 0);
}

bool opening_is_behind(const struct database *database)
{
	ino_t latest = latest_of(database->lock);

	return latest != 0 ? latest != database->files[MAIN_FILE].inode : database->was_behind;
}

enum database_status opening_lock(struct database *database, int64_t deadline_ms,
				  char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	bool fits = state_dir_file(database->state_dir, names[LOCK_FILE], path);
	struct stat info;
	int lock = -1;

	do {
		if (lock >= 0)
			close(lock); /* it was deleted before it was ours */
		lock = fits ? write_lock_open(path) : -1;
		if (lock < 0)
			return refuse(LOCK_FILE, path, errno, why);
		if (!write_lock_take(lock, deadline_ms)) {
			snprintf(why, DATABASE_WHY_SIZE, "another process holds the write lock");
			close(lock);
			return DATABASE_BUSY;
		}
	} while (fstat(lock, &info) != 0 || info.st_ino != inode_of(database, LOCK_FILE));
	if (database->handle) {
		database->was_behind = opening_is_behind(database);
		note_latest(database->lock, LOCK_LEFT);
		if (held_file_look(&database->files[MAIN_FILE]) == HELD_FILE_IN_PLACE)
			note_latest(lock, database->files[MAIN_FILE].inode);
	}
	if (database->lock >= 0)
		close(database->lock);
	database->lock = lock;
	held_file_take(&database->files[LOCK_FILE], path, names[LOCK_FILE], 0600);
	return DATABASE_OK;
}

enum database_status opening_sync(struct database *database, char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	struct log_sync *sync = state_dir_file(database->state_dir, names[SYNC_FILE], path)
					? log_sync_open(path)
					: NULL;

	if (!sync)
		return refuse(SYNC_FILE, path, errno, why);
	log_sync_close(database->sync);
	database->sync = sync;
	held_file_take(&database->files[SYNC_FILE], path, names[SYNC_FILE], 0600);
	return DATABASE_OK;
}

/* SQLite's own checkpoint after a commit is off: this only remembers how long the log is. */
static int remember_wal_bytes(void *context, sqlite3 *handle, const char *name, int pages)
{
	struct database *database = context;

	(void)handle;
	(void)name;
	database->wal_bytes = pages * database->page_bytes;
	return SQLITE_OK;
}

/* Of a handle. NORMAL: a commit does not wait for the disk; database_sync does, when that is
 * wanted. The size is that of the whole file, for this connection's writes: beyond it they are
 * DATABASE_FULL. */
static bool set_up(struct database *database, sqlite3 *handle, char why[DATABASE_WHY_SIZE])
{
	char mode[SQL_ANSWER_SIZE], answer[SQL_ANSWER_SIZE], limit[SQL_ANSWER_SIZE];
	bool good;

	sqlite3_extended_result_codes(handle, 1);
	/* Closing the last connection would take a checkpoint without asking for the write lock. */
	sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* The size of the pages, for a database that is new: a publish writes one or two of them.
	 * No checkpoints, before there is a log. */
	good = sql_execute(handle, "PRAGMA page_size = 1024;"
				   "PRAGMA wal_autocheckpoint = 0") &&
	       sql_ask(handle, "PRAGMA journal_mode = WAL", mode) &&
	       sql_execute(handle, "PRAGMA journal_size_limit = 33554432;"
				   "PRAGMA mmap_size = 0;"
				   "PRAGMA secure_delete = FAST;"
				   "PRAGMA cache_size = -512;"
				   "PRAGMA temp_store = MEMORY;"
				   "PRAGMA synchronous = NORMAL;") &&
	       sql_ask(handle, "PRAGMA page_size", answer);
	if (good) {
		database->page_bytes = strtoll(answer, NULL, 10);
		snprintf(limit, sizeof(limit), "PRAGMA max_page_count = %lld",
			 (long long)(database->max_bytes / database->page_bytes));
		good = sql_execute(handle, limit);
	}
	if (!good) {
		snprintf(why, DATABASE_WHY_SIZE, "cannot open the database: %s",
			 sqlite3_errmsg(handle));
		return false;
	}
	/* After the pragmas: wal_autocheckpoint installs a hook of its own. */
	sqlite3_wal_hook(handle, remember_wal_bytes, database);
	if (strcmp(mode, "wal") == 0)
		return true;
	snprintf(why, DATABASE_WHY_SIZE,
		 "the database has no write-ahead log: somebody holds it open in another mode, or "
		 "the file system cannot share memory");
	return false;
}

/* Applies what is missing. The schema is in memory then: later there may be no time to wait for
 * it. */
static bool migrate(sqlite3 *handle, char why[DATABASE_WHY_SIZE])
{
	char answer[SQL_ANSWER_SIZE], end[SQL_ANSWER_SIZE];
	long version = 0;

	while (sql_ask(handle, "PRAGMA user_version", answer)) {
		version = strtol(answer, NULL, 10);
		if (version >= schema_version)
			break;
		snprintf(end, sizeof(end), "PRAGMA user_version = %ld; COMMIT", version + 1);
		if (sql_execute(handle, "BEGIN IMMEDIATE") &&
		    sql_execute(handle, schema_migrations[version]) && sql_execute(handle, end))
			continue;
		snprintf(why, DATABASE_WHY_SIZE, "cannot bring the schema to version %ld: %s",
			 version + 1, sqlite3_errmsg(handle));
		return false;
	}
	if (version > schema_version)
		snprintf(why, DATABASE_WHY_SIZE,
			 "the database has schema version %ld, this program knows %d: it was made "
			 "by a newer version",
			 version, schema_version);
	else if (!answer[0] || !sql_execute(handle, "SELECT 1 FROM sqlite_schema LIMIT 1"))
		snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s",
			 sqlite3_errmsg(handle));
	else
		return true;
	return false;
}

/* SQLite opens a file that it may not write as read-only: for us that is a failure. Of the files
 * beside it, which somebody else may have left, it does not say what is wrong. */
static bool open_handle(struct database *database, sqlite3 **handle, bool may_make,
			char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	mode_t old_mask;
	int result, error;

	if (!state_dir_file(database->state_dir, DATABASE_NAME, path))
		return false; /* the lock, whose name is longer, was opened */
	old_mask = umask(0177); /* SQLite gives the log and its index the mode of the database */
	result = sqlite3_open_v2(path, handle,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_PRIVATECACHE |
					 (may_make ? SQLITE_OPEN_CREATE : 0),
				 NULL);
	umask(old_mask);
	if (result == SQLITE_OK && sqlite3_db_readonly(*handle, "main") == 0) {
		for (enum database_file i = LOG_FILE; i <= INDEX_FILE; i++)
			if (state_dir_file(database->state_dir, names[i], path) &&
			    faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0 &&
			    errno != ENOENT)
				return refuse(i, path, errno, why) == DATABASE_OK;
		return true;
	}
	error = result == SQLITE_OK ? EACCES : sqlite3_system_errno(*handle);
	if (error != 0)
		refuse(MAIN_FILE, path, error, why);
	else
		snprintf(why, DATABASE_WHY_SIZE,
			 "cannot open " DATABASE_NAME " in the state_dir: %s",
			 sqlite3_errstr(result));
	return false;
}

static int prepare(sqlite3 *handle, const char *sql, sqlite3_stmt **statement)
{
	return sqlite3_prepare_v3(handle, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
}

void database_prepare(struct database *database, sqlite3_stmt **statement, const char *sql)
{
	size_t count = database->prepared_count++;

	database->prepared = xreallocarray(database->prepared, count + 1, sizeof(struct prepared));
	database->prepared[count] = (struct prepared){.statement = statement, .sql = sql};
	if (prepare(database->handle, sql, statement) != SQLITE_OK && !database->fault[0])
		snprintf(database->fault, sizeof(database->fault), "cannot prepare a statement: %s",
			 sqlite3_errmsg(database->handle));
}

static int add_function(sqlite3 *handle, const struct database_function *function)
{
	return sqlite3_create_function(handle, function->name, 1, SQLITE_UTF8, function->context,
				       function->call, NULL, NULL);
}

void database_add_function(struct database *database, struct database_function function)
{
	struct database_function *free_place = database->functions;

	while (free_place->name)
		free_place++;
	*free_place = function;
	add_function(database->handle, free_place);
}

/* Those of the callers, for another handle. */
static bool prepare_again(struct database *database, sqlite3 *handle, char why[DATABASE_WHY_SIZE])
{
	bool good = true;

	for (size_t i = 0; i < DATABASE_FUNCTIONS && database->functions[i].name && good; i++)
		good = add_function(handle, &database->functions[i]) == SQLITE_OK;
	for (size_t i = 0; i < database->prepared_count && good; i++) {
		struct prepared *each = &database->prepared[i];

		good = prepare(handle, each->sql, &each->next) == SQLITE_OK;
	}
	if (!good)
		snprintf(why, DATABASE_WHY_SIZE, "cannot prepare a statement: %s",
			 sqlite3_errmsg(handle));
	return good;
}

/* Leaves the statements of the callers dangling. */
static void close_handle(sqlite3 *handle)
{
	for (sqlite3_stmt *left; handle && (left = sqlite3_next_stmt(handle, NULL));)
		sqlite3_finalize(left);
	sqlite3_close(handle);
}

int opening_file(struct database *database, int64_t wait_ms, enum opening how,
		 char why[DATABASE_WHY_SIZE])
{
	sqlite3 *handle = NULL;
	char path[STATE_DIR_PATH_SIZE];
	int64_t known_id = ids_newest(database->handle);
	ino_t main = inode_of(database, MAIN_FILE), log = inode_of(database, LOG_FILE);
	int result = SQLITE_CANTOPEN;

	if (how == OPENING_ANY && database->handle && opening_is_behind(database))
		known_id++; /* others had one more at least */
	if (open_handle(database, &handle, how == OPENING_NEW, why)) {
		sqlite3_busy_timeout(handle, (int)wait_ms);
		if (!set_up(database, handle, why) || !migrate(handle, why))
			result = SQLITE_ERROR;
		else if (how == OPENING_SAME && !ids_knows(handle, known_id))
			result = SQLITE_NOTFOUND;
		else if (!ids_note(handle, known_id, why) || !prepare_again(database, handle, why))
			result = SQLITE_ERROR;
		else if ((main != 0 && main != inode_of(database, MAIN_FILE)) ||
			 (log != 0 && log != inode_of(database, LOG_FILE)))
			result = SQLITE_ABORT;
		else
			result = SQLITE_OK;
	}
	if (result == SQLITE_ERROR && sqlite3_errcode(handle) != SQLITE_OK)
		result = sqlite3_errcode(handle);
	if (result == SQLITE_ABORT)
		snprintf(why, DATABASE_WHY_SIZE, "somebody deletes its files");
	if (result != SQLITE_OK) {
		close_handle(handle);
		return result;
	}
	sqlite3_busy_timeout(handle, 0);
	database->lost += !ids_knows(handle, known_id);
	close_handle(database->handle);
	database->handle = handle;
	database->roll_back = NULL;
	database->is_in_doubt = database->waits_for_disk;
	held_file_take(&database->files[DIRECTORY], database->state_dir, "state_dir", 0700);
	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++) {
		snprintf(path, sizeof(path), "%s%s", sqlite3_db_filename(handle, "main"),
			 names[i] + strlen(DATABASE_NAME));
		held_file_take(&database->files[i], path, names[i], 0600);
	}
	if (main != 0) /* what is open, though it may have gone since */
		database->files[MAIN_FILE].inode = main;
	note_latest(database->lock, database->files[MAIN_FILE].inode);
	database->was_behind = false;
	database->looked_ms = 0;
	database->doubtful_ms = 0;
	for (size_t i = 0; i < database->prepared_count; i++)
		*database->prepared[i].statement = database->prepared[i].next;
	return SQLITE_OK;
}

bool opening_is_torn(const struct database *database, bool others_may_have_it, bool mend)
{
	char paths[FILES][STATE_DIR_PATH_SIZE];
	bool is_there[FILES];
	struct stat info;

	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++)
		is_there[i] = state_dir_file(database->state_dir, names[i], paths[i]) &&
			      stat(paths[i], &info) == 0 && (i > MAIN_FILE || info.st_size > 0);
	if (is_there[MAIN_FILE]
		    ? is_there[LOG_FILE] || (!is_there[INDEX_FILE] && !others_may_have_it)
		    : !is_there[LOG_FILE] && !is_there[INDEX_FILE] && !others_may_have_it)
		return false;
	if (mend) {
		unlink(paths[INDEX_FILE]);
		if (!is_there[MAIN_FILE])
			unlink(paths[LOG_FILE]);
	}
	return true;
}

/* Takes the lock and opens the file when others, who may have the rest open, have had time to put
 * it back: where the lock file is, somebody has been. */
static bool open_whole(struct database *database, int64_t wait_ms, char why[DATABASE_WHY_SIZE])
{
	int64_t give_up_ms = clock_monotonic_ms() + opening_patience_ms;
	bool others_may_have_it = inode_of(database, LOCK_FILE) != 0;

	for (;;) {
		if (opening_lock(database, clock_monotonic_ms() + wait_ms, why) != DATABASE_OK)
			return false;
		bool is_over = clock_monotonic_ms() >= give_up_ms;
		ino_t main = inode_of(database, MAIN_FILE);
		if (!opening_is_torn(database, others_may_have_it, is_over) || is_over) {
			int result = opening_file(database, wait_ms,
						  main == 0 ? OPENING_NEW : OPENING_ANY, why);
			bool has_gone =
				result == SQLITE_ABORT || inode_of(database, MAIN_FILE) != main;

			if (result == SQLITE_OK || is_over || !has_gone)
				return result == SQLITE_OK;
		}
		write_lock_release(database->lock);
		usleep(NAP_US);
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
	database->max_bytes = config->database_max_bytes;
	database->waits_for_disk = config->durability == CONFIG_DURABILITY_FULL;
	database->lock = -1;
	if (state_dir_prepare(config->state_dir, false, why, DATABASE_WHY_SIZE) &&
	    open_whole(database, wait_ms, why) &&
	    (!database->waits_for_disk || opening_sync(database, why) == DATABASE_OK)) {
		sqlite3_busy_timeout(database->handle, 0);
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
	close_handle(database->handle);
	if (database->lock >= 0)
		close(database->lock);
	log_sync_close(database->sync);
	for (size_t i = 0; i < FILES; i++)
		held_file_release(&database->files[i]);
	free(database->prepared);
	free(database->state_dir);
	free(database);
}
