/*
 * Brings the schema of an open database up to date with the migrations of sql/, see schema.h. For
 * database.c alone.
 */
#ifndef SHARED_MIGRATION_H
#define SHARED_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sqlite3.h>

/* Applies what is missing, with the write lock held by the caller. False, with a reason for people
 * in `why`, when that fails or a newer version has made the database. */
bool migration_run(sqlite3 *handle, char *why, size_t size);

#endif
