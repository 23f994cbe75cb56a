/*
 * A connection from the inside: database_open.c makes it, database.c uses it. Nobody else includes
 * this.
 */
#ifndef SHARED_DATABASE_INTERNAL_H
#define SHARED_DATABASE_INTERNAL_H

#include "shared/database/database.h"
#include "shared/database/file_identity.h"
#include "shared/database/write_lock.h"

/* The files that make up the database. */
enum { MAIN_FILE, LOG_FILE, LOCK_FILE, FILES };

struct database {
	sqlite3 *handle;
	char *paths[FILES];
	struct file_identity files[FILES];
	struct write_lock *lock;
	sqlite3_stmt *roll_back; /* of the last database_begin; NULL: there was none */
	int wal_pages;
	char fault[DATABASE_WHY_SIZE]; /* why a statement could not be prepared, "" */
};

#endif
