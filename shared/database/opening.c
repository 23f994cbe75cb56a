/*
 * Making a connection, see database.h: the file, its pragmas and migrations, the callers'
 * statements. State: the connection's. May block, on locks and on the disk, for as long as it is
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
#include "shared/base/state_dir.h"
#include "shared/database/database_internal.h"
#include "shared/database/generation.h"
#include "shared/database/id_jumps.h"
#include "shared/database/log_sync.h"
#include "shared/database/schema.h"
#include "shared/database/sql.h"

enum database_status opening_sync(struct database *database, char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	struct log_sync *sync = state_dir_file(database->state_dir, database_names[SYNC_FILE], path)
					? log_sync_open(path)
					: NULL;

	if (!sync)
		return generation_refuse(SYNC_FILE, path, errno, why);
	log_sync_close(database->sync);
	database->sync = sync;
	held_file_take(&database->files[SYNC_FILE], path, database_names[SYNC_FILE], 0600);
	return DATABASE_OK;
}

/* SQLite's own checkpoint after a commit is off: this only remembers how long the log is, and which
 * event is the newest, for the rowids of all other tables are far below those of events. */
static int on_commit(void *context, sqlite3 *handle, const char *name, int pages)
{
	struct database *database = context;

	(void)name;
	database->wal_bytes = pages * database->page_bytes;
	if (handle == database->handle)
		generation_note_id(database, sqlite3_last_insert_rowid(handle));
	return SQLITE_OK;
}

/* The pragmas of a handle. NORMAL: a commit does not wait for the disk; database_sync does, if that
 * is wanted. max_page_count limits the whole file, for writes of this connection: beyond it they
 * are DATABASE_FULL. */
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
	sqlite3_wal_hook(handle, on_commit, database);
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

/* SQLite opens a file that it may not write read-only: for us that is a failure. It does not say
 * what is wrong with the files beside it, which somebody else may have left. */
static bool open_handle(struct database *database, sqlite3 **handle, bool may_make,
			char why[DATABASE_WHY_SIZE])
{
	char path[STATE_DIR_PATH_SIZE];
	int result, error, made = -1;

	if (!state_dir_file(database->state_dir, database_names[MAIN_FILE], path))
		return false; /* the lock, whose name is longer, was opened */
	/* With its mode, which SQLite gives the log and its index too. An empty file is a new
	 * database to SQLite. */
	if (may_make && (made = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
		return generation_refuse(MAIN_FILE, path, errno, why) == DATABASE_OK;
	if (made >= 0)
		close(made);
	result = sqlite3_open_v2(
		path, handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
	if (result == SQLITE_OK && sqlite3_db_readonly(*handle, "main") == 0) {
		for (enum database_file i = LOG_FILE; i <= INDEX_FILE; i++)
			if (state_dir_file(database->state_dir, database_names[i], path) &&
			    faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0 &&
			    errno != ENOENT)
				return generation_refuse(i, path, errno, why) == DATABASE_OK;
		return true;
	}
	error = result == SQLITE_OK ? EACCES : sqlite3_system_errno(*handle);
	if (error != 0)
		generation_refuse(MAIN_FILE, path, error, why);
	else
		snprintf(why, DATABASE_WHY_SIZE, "cannot open %s in the state_dir: %s",
			 database_names[MAIN_FILE], sqlite3_errstr(result));
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

/* The callers' statements, for another handle. */
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

void opening_close(sqlite3 *handle)
{
	for (sqlite3_stmt *left; handle && (left = sqlite3_next_stmt(handle, NULL));)
		sqlite3_finalize(left);
	sqlite3_close(handle);
}

/* A good handle takes the place of the one before. */
static void take(struct database *database, sqlite3 *handle, struct generation *here)
{
	char path[STATE_DIR_PATH_SIZE];

	sqlite3_busy_timeout(handle, 0);
	sqlite3_set_last_insert_rowid(handle, 0); /* that of a jump is no event's */
	opening_close(database->handle);
	database->handle = handle;
	database->roll_back = NULL;
	database->is_in_doubt = database->waits_for_disk;
	held_file_take(&database->files[DIRECTORY], database->state_dir, "state_dir", 0700);
	for (size_t i = MAIN_FILE; i <= INDEX_FILE; i++) {
		snprintf(path, sizeof(path), "%s%s", sqlite3_db_filename(handle, "main"),
			 database_names[i] + strlen(database_names[MAIN_FILE]));
		held_file_take(&database->files[i], path, database_names[i], 0600);
		/* What is open, though it may have gone since. */
		database->files[i].inode = here->files[i].inode;
		database->files[i].device = here->device;
	}
	generation_note(database, here);
	database->looked_ms = 0;
	database->doubtful_ms = 0;
	for (size_t i = 0; i < database->prepared_count; i++)
		*database->prepared[i].statement = database->prepared[i].next;
}

/* True when something that was there has gone. */
static bool has_changed(const struct generation *before, const struct generation *now)
{
	for (enum database_file i = MAIN_FILE; i <= INDEX_FILE; i++)
		if (before->files[i].inode != 0 && !generation_has(before, now, i))
			return true;
	return false;
}

int opening_file(struct database *database, int64_t wait_ms, enum opening how,
		 const struct generation *here, char why[DATABASE_WHY_SIZE])
{
	sqlite3 *handle = NULL;
	struct generation now;
	int64_t own_id = 0, latest_id = generation_latest(database).newest_id;
	int64_t newest_id = 0, noted_id = 0;
	bool has_own = true, has_latest = true, is_unknown = false;
	int result = SQLITE_CANTOPEN;

	if (database->handle) /* whose files may be gone: then the lock's file knows */
		(void)ids_newest(database->handle, &own_id);
	int64_t known_id = own_id > latest_id ? own_id : latest_id;
	if (open_handle(database, &handle, how == OPENING_NEW, why)) {
		sqlite3_busy_timeout(handle, (int)wait_ms);
		bool good = set_up(database, handle, why);
		if (good &&
		    !(ids_newest(handle, &newest_id) && ids_knows(handle, own_id, &has_own) &&
		      ids_knows(handle, latest_id, &has_latest))) {
			snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s",
				 sqlite3_errmsg(handle));
			good = false;
		}
		/* Nobody knows what was open last: all of it was copied back, most likely. */
		is_unknown =
			newest_id > 0 && generation_latest(database).files[MAIN_FILE].inode == 0;
		result = SQLITE_ERROR;
		now = generation_here(database);
		/* Before anything is written: to a log that is not its index's. */
		if (good &&
		    (has_changed(here, &now) || (how == OPENING_SAME && !(has_own && has_latest))))
			result = SQLITE_ABORT;
		else if (good && migrate(handle, why) &&
			 ids_note(handle, known_id, is_unknown, &noted_id, why) &&
			 prepare_again(database, handle, why))
			result = SQLITE_OK;
	}
	if (result == SQLITE_ERROR && sqlite3_errcode(handle) != SQLITE_OK)
		result = sqlite3_errcode(handle);
	now = generation_here(database);
	if (has_changed(here, &now) || (result == SQLITE_OK && (now.files[MAIN_FILE].inode == 0 ||
								now.files[LOG_FILE].inode == 0 ||
								now.files[INDEX_FILE].inode == 0)))
		result = SQLITE_ABORT;
	if (result == SQLITE_ABORT)
		snprintf(why, DATABASE_WHY_SIZE, "somebody changes its files");
	if (result != SQLITE_OK) {
		opening_close(handle);
		return result;
	}
	if (newest_id < known_id)
		log_event(LOG_WARN, "the database lacks events that have been in it",
			  log_number("newest_id", newest_id), log_number("known_id", known_id));
	else if (is_unknown)
		log_event(LOG_WARN, "the database may lack events that have been in it",
			  log_number("newest_id", newest_id));
	database->lost += database->handle && !(has_own && has_latest);
	now.newest_id = noted_id;
	take(database, handle, &now);
	return SQLITE_OK;
}
