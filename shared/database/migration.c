/*
 * Schema migrations, see migration.h. No state. Called when a database is opened; blocks on the
 * disk.
 *
 * Each migration is one transaction that also raises `user_version`, so a start that dies half-way
 * leaves the whole schema of an earlier version.
 */
#include "shared/database/migration.h"

#include "shared/database/schema.h"

static bool execute(sqlite3 *handle, const char *sql)
{
	return sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* -1 when it cannot be read. */
static int read_version(sqlite3 *handle)
{
	sqlite3_stmt *statement = NULL;
	int version = -1;

	if (sqlite3_prepare_v2(handle, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return version;
}

static bool apply(sqlite3 *handle, int version)
{
	char set_version[64];

	snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", version + 1);
	return execute(handle, "BEGIN IMMEDIATE") && execute(handle, schema_migrations[version]) &&
	       execute(handle, set_version) && execute(handle, "COMMIT");
}

bool migration_run(sqlite3 *handle, char *why, size_t size)
{
	int version = read_version(handle);

	while (version >= 0 && version < schema_version) {
		if (!apply(handle, version)) {
			snprintf(why, size, "cannot bring the schema to version %d: %s",
				 version + 1, sqlite3_errmsg(handle));
			return false;
		}
		version = read_version(handle);
	}
	if (version > schema_version)
		snprintf(why, size,
			 "the database has schema version %d, this program knows %d: it was made "
			 "by a newer version",
			 version, schema_version);
	else if (version < 0)
		snprintf(why, size, "cannot read the database: %s", sqlite3_errmsg(handle));
	return version == schema_version;
}
