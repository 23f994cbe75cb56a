/*
 * Counters in the database, see accounts.h. State: prepared statements, and what was added so far.
 * accounts_write may block for the time it is given, and on the disk; reads never wait for writers.
 * After a failure nothing was added, and the next call adds it all.
 */
#include "shared/counters/accounts.h"

#include <string.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum statement { COMMIT, ADD, READ, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[COMMIT] = "COMMIT",
	[ADD] = "INSERT INTO counters (name, label, value) VALUES (?1, ?2, ?3) "
		"ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
	[READ] = "SELECT name, label, value FROM counters",
};

struct accounts {
	struct database *database; /* NULL: none now */
	struct counters added;
	struct counter_cell names[COUNTER_CELLS];
	sqlite3_stmt *statements[STATEMENTS];
};

struct accounts *accounts_new(void)
{
	struct accounts *accounts = xcalloc(1, sizeof(*accounts));

	for (size_t i = 0; i < COUNTER_CELLS; i++)
		counters_cell_name(i, &accounts->names[i]);
	return accounts;
}

void accounts_free(struct accounts *accounts)
{
	if (!accounts)
		return;
	accounts_attach(accounts, NULL);
	free(accounts);
}

void accounts_attach(struct accounts *accounts, struct database *database)
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(accounts->statements[i]);
		accounts->statements[i] = database ? database_prepare(database, sql[i]) : NULL;
	}
	accounts->database = database;
}

bool accounts_are_due(const struct accounts *accounts, const struct counters *now)
{
	return accounts->database && memcmp(&accounts->added, now, sizeof(*now)) != 0;
}

enum database_status accounts_add(struct accounts *accounts, const struct counters *now)
{
	enum database_status status = DATABASE_OK;
	sqlite3_stmt *add = accounts->statements[ADD];
	struct counters counted = *now;

	for (size_t i = 0; i < COUNTER_CELLS && status == DATABASE_OK; i++) {
		int64_t more = *counters_cell(&counted, i) - *counters_cell(&accounts->added, i);

		if (more == 0)
			continue;
		sqlite3_bind_text(add, 1, accounts->names[i].name, -1, SQLITE_STATIC);
		sqlite3_bind_text(add, 2, accounts->names[i].label, -1, SQLITE_STATIC);
		sqlite3_bind_int64(add, 3, more);
		status = database_run(add);
	}
	return status;
}

void accounts_added(struct accounts *accounts, const struct counters *now)
{
	accounts->added = *now;
}

enum database_status accounts_write(struct accounts *accounts, const struct counters *now,
				    int64_t wait_ms)
{
	enum database_status status =
		database_write_begin(accounts->database, clock_monotonic_ms() + wait_ms);

	if (status != DATABASE_OK)
		return status;
	status = database_begin(accounts->database);
	if (status == DATABASE_OK)
		status = accounts_add(accounts, now);
	if (status == DATABASE_OK)
		status = database_run(accounts->statements[COMMIT]);
	database_write_end(accounts->database);
	if (status == DATABASE_OK)
		accounts_added(accounts, now);
	return status;
}

/* The cell of that row; NULL when it is none of ours: a newer version knows more. */
static int64_t *find_cell(const struct accounts *accounts, struct counters *totals,
			  const char *name, const char *label)
{
	for (size_t i = 0; i < COUNTER_CELLS; i++)
		if (strcmp(accounts->names[i].label, label) == 0 &&
		    strcmp(accounts->names[i].name, name) == 0)
			return counters_cell(totals, i);
	return NULL;
}

enum database_status accounts_read(struct accounts *accounts, struct counters *totals)
{
	sqlite3_stmt *row = accounts->statements[READ];
	int result;

	*totals = (struct counters){0};
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(row, 0);
		const char *label = (const char *)sqlite3_column_text(row, 1);
		int64_t *cell = name && label ? find_cell(accounts, totals, name, label) : NULL;

		if (cell)
			*cell = sqlite3_column_int64(row, 2);
	}
	sqlite3_reset(row);
	return database_status_of(result);
}
