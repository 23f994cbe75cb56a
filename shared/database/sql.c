/* SQL that is run once, and what became of it: see sql.h and database.h. No state. */
#include "shared/database/sql.h"

bool sql_execute(sqlite3 *handle, const char *sql)
{
	return sqlite3_exec(handle, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int take_answer(void *answer, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	snprintf(answer, SQL_ANSWER_SIZE, "%s", values[0] ? values[0] : "");
	return 0;
}

bool sql_ask(sqlite3 *handle, const char *sql, char answer[SQL_ANSWER_SIZE])
{
	answer[0] = '\0';
	return sqlite3_exec(handle, sql, take_answer, answer, NULL) == SQLITE_OK;
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
