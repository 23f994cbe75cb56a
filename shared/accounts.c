/*
 * Counters in the database, see accounts.h. State: prepared statements, and what was added so far.
 * accounts_write may block for the time it is given, and on the disk; reads never wait for writers.
 * After a failure nothing was added, and the next call adds it all.
 */
#include "shared/accounts.h"

#include <string.h>

#include "shared/alloc.h"
#include "shared/clock.h"

enum statement { BEGIN_WRITE, BEGIN_READ, COMMIT, ADD, READ, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[BEGIN_READ] = "BEGIN",
	[COMMIT] = "COMMIT",
	[ADD] = "INSERT INTO counters (name, label, value) VALUES (?1, ?2, ?3) "
		"ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
	[READ] = "SELECT value FROM counters WHERE name = ?1 AND label = ?2",
};

struct accounts {
	struct database *database; /* NULL: none now */
	struct counters added;
	sqlite3_stmt *statements[STATEMENTS];
};

struct accounts *accounts_new(void)
{
	return xcalloc(1, sizeof(struct accounts));
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

static enum database_status run(sqlite3_stmt *statement)
{
	enum database_status status = database_status_of(sqlite3_step(statement));

	sqlite3_reset(statement);
	return status;
}

static void bind_name(sqlite3_stmt *statement, const struct counter_cell *name)
{
	sqlite3_bind_text(statement, 1, name->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, name->label, -1, SQLITE_STATIC);
}

enum database_status accounts_add(struct accounts *accounts, const struct counters *now)
{
	enum database_status status = DATABASE_OK;
	sqlite3_stmt *add = accounts->statements[ADD];
	struct counters counted = *now;
	struct counter_cell name;

	for (size_t i = 0; i < COUNTER_CELLS && status == DATABASE_OK; i++) {
		int64_t more = *counters_cell(&counted, i) - *counters_cell(&accounts->added, i);

		if (more == 0)
			continue;
		counters_cell_name(i, &name);
		bind_name(add, &name);
		sqlite3_bind_int64(add, 3, more);
		status = run(add);
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
	status = run(accounts->statements[BEGIN_WRITE]);
	if (status == DATABASE_OK)
		status = accounts_add(accounts, now);
	if (status == DATABASE_OK)
		status = run(accounts->statements[COMMIT]);
	database_write_end(accounts->database);
	if (status == DATABASE_OK)
		accounts_added(accounts, now);
	return status;
}

static enum database_status read_cell(struct accounts *accounts, size_t cell, int64_t *value)
{
	sqlite3_stmt *read = accounts->statements[READ];
	struct counter_cell name;

	counters_cell_name(cell, &name);
	bind_name(read, &name);
	int result = sqlite3_step(read);
	*value = result == SQLITE_ROW ? sqlite3_column_int64(read, 0) : 0;
	sqlite3_reset(read);
	return database_status_of(result);
}

/* In one snapshot. */
enum database_status accounts_read(struct accounts *accounts, struct counters *totals)
{
	enum database_status status = run(accounts->statements[BEGIN_READ]);

	*totals = (struct counters){0};
	for (size_t i = 0; i < COUNTER_CELLS && status == DATABASE_OK; i++)
		status = read_cell(accounts, i, counters_cell(totals, i));
	run(accounts->statements[COMMIT]);
	return status;
}
