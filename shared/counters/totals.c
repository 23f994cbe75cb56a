/*
 * Totals, see totals.h. State: prepared statements, and what has been added so far. totals_write
 * may block for the time it is given, and on the disk; reads never wait for writers. After a
 * failure nothing has been added, and the next call adds it all.
 */
#include "shared/counters/totals.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum statement { COMMIT, ADD, READ, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[COMMIT] = "COMMIT",
	[ADD] = "INSERT INTO counters (name, label, value) VALUES (?1, ?2, ?3) "
		"ON CONFLICT (name, label) DO UPDATE SET value = value + excluded.value",
	[READ] = "SELECT name, label, value FROM counters",
};

struct totals {
	struct database *database;
	struct counters added;
	struct counter_cell names[COUNTER_CELLS];
	sqlite3_stmt *statements[STATEMENTS];
};

struct totals *totals_new(struct database *database)
{
	struct totals *totals = xcalloc(1, sizeof(*totals));

	totals->database = database;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &totals->statements[i], sql[i]);
	for (size_t i = 0; i < COUNTER_CELLS; i++)
		counters_cell_name(i, &totals->names[i]);
	return totals;
}

void totals_free(struct totals *totals)
{
	free(totals);
}

bool totals_are_due(const struct totals *totals, const struct counters *now)
{
	return memcmp(&totals->added, now, sizeof(*now)) != 0;
}

enum database_status totals_add(struct totals *totals, const struct counters *now)
{
	enum database_status status = DATABASE_OK;
	sqlite3_stmt *add = totals->statements[ADD];

	for (size_t i = 0; i < COUNTER_CELLS && status == DATABASE_OK; i++) {
		if (now->cells[i] == totals->added.cells[i])
			continue;
		sqlite3_bind_text(add, 1, totals->names[i].name, -1, SQLITE_STATIC);
		sqlite3_bind_text(add, 2, totals->names[i].label, -1, SQLITE_STATIC);
		sqlite3_bind_int64(add, 3, now->cells[i] - totals->added.cells[i]);
		status = database_run(add);
	}
	return status;
}

void totals_added(struct totals *totals, const struct counters *now)
{
	totals->added = *now;
}

enum database_status totals_write(struct totals *totals, const struct counters *now,
				  int64_t wait_ms)
{
	enum database_status status =
		database_write_begin(totals->database, clock_monotonic_ms() + wait_ms);

	if (status != DATABASE_OK)
		return status;
	status = database_begin(totals->database);
	if (status == DATABASE_OK)
		status = totals_add(totals, now);
	if (status == DATABASE_OK)
		status = database_run(totals->statements[COMMIT]);
	database_write_end(totals->database);
	if (status == DATABASE_OK)
		totals_added(totals, now);
	return status;
}

enum database_status totals_read(struct totals *totals, struct counters *sums)
{
	sqlite3_stmt *row = totals->statements[READ];
	int result;

	*sums = (struct counters){0};
	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(row, 0);
		const char *label = (const char *)sqlite3_column_text(row, 1);

		/* A row that is none of ours, as a newer version may have, is passed over. */
		for (size_t i = 0; i < COUNTER_CELLS && name && label; i++)
			if (strcmp(totals->names[i].label, label) == 0 &&
			    strcmp(totals->names[i].name, name) == 0)
				sums->cells[i] = sqlite3_column_int64(row, 2);
	}
	sqlite3_reset(row);
	return database_status_of(result);
}
