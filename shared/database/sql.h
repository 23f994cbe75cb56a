/*
 * SQL that is run once, as a connection is opened; other statements are prepared
 * (database_prepare). For this folder only.
 */
#ifndef SHARED_SQL_H
#define SHARED_SQL_H

#include <stdbool.h>

#include "shared/database/database.h"

enum { SQL_ANSWER_SIZE = 64 };

/* One or more statements. False: sqlite3_errmsg says why. */
bool sql_execute(sqlite3 *handle, const char *sql);

/* The first column of the last row as text, cut off at the end; "" when there is no row. */
bool sql_ask(sqlite3 *handle, const char *sql, char answer[SQL_ANSWER_SIZE]);

#endif
