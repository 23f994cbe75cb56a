/*
 * What the API only reads, see store.h: all that the status and the metrics show. State: the
 * store's statements. Never waits for writers (WAL).
 */
#include "api/store_internal.h"

#include "shared/base/clock.h"

void store_prepare_reads(struct store *store)
{
	struct database *database = store->database;

	store->begin_read = database_prepare(database, "BEGIN");
	store->all_topics = database_prepare(
		database, "SELECT topic FROM topics WHERE expires_ms > ?1 ORDER BY topic LIMIT ?2");
	store->active_topics =
		database_prepare(database, "SELECT DISTINCT topic FROM " CENSUS_LIVE_SESSIONS
					   " AND ?1 NOT NULL ORDER BY topic LIMIT ?2");
}

void store_finalize_reads(struct store *store)
{
	sqlite3_finalize(store->begin_read);
	sqlite3_finalize(store->all_topics);
	sqlite3_finalize(store->active_topics);
}

enum store_outcome store_read_begin(struct store *store)
{
	return store_outcome_of(store, database_run(store->begin_read));
}

/* What fails here is mended by the next write, which rolls back first. */
void store_read_end(struct store *store)
{
	if (sqlite3_get_autocommit(database_handle(store->database)) == 0)
		database_run(store->commit);
}

enum store_outcome store_counts(struct store *store, struct service_counts *counts)
{
	return store_outcome_of(store, census_take(store->census, counts));
}

enum store_outcome store_gauges(struct store *store, struct gauges *gauges)
{
	return store_outcome_of(store, gauges_read(store->gauges, gauges));
}

enum store_outcome store_totals(struct store *store, struct accounts *accounts,
				struct counters *totals)
{
	return store_outcome_of(store, accounts_read(accounts, totals));
}

enum store_outcome store_topics(struct store *store, bool active, int64_t limit,
				store_topic_visitor *each, void *context)
{
	sqlite3_stmt *statement = active ? store->active_topics : store->all_topics;
	int result;

	sqlite3_bind_int64(statement, 1, clock_wall_ms());
	sqlite3_bind_int64(statement, 2, limit);
	while ((result = sqlite3_step(statement)) == SQLITE_ROW)
		each(context, (const char *)sqlite3_column_text(statement, 0),
		     (size_t)sqlite3_column_bytes(statement, 0));
	sqlite3_reset(statement);
	return store_outcome_of(store, database_status_of(result));
}
