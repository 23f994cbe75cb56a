/*
 * Topics in the database, see topic_rows.h. State: prepared statements. Reads never wait; the
 * transactions are the caller's.
 */
#include "gateway/cluster/topic_rows.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum statement { TO_RELAY, RELAYED, GIVE, WALK, COUNT, JUDGE, PUT, REMOVE, STATEMENTS };

/* ?1 is the topic, or a list's beginning; ?2 the time; ?3 how many there may be; ?4 and ?5 what
 * Redis says: require_token, and the expiry, or 0 when there is none. */
static const char *const sql[STATEMENTS] = {
	[TO_RELAY] =
		"SELECT topics_to_relay.topic, expires_ms > ?2, require_token, expires_ms, changes "
		"FROM topics_to_relay LEFT JOIN topics USING (topic) LIMIT ?3",
	[RELAYED] = "DELETE FROM topics_to_relay WHERE topic = ?1 AND changes = ?3",
	[GIVE] = "INSERT OR IGNORE INTO topics_to_relay (topic, changes) SELECT topic, 0 FROM "
		 "topics "
		 "WHERE expires_ms > ?2 AND registered_ms >= ?3 AND topic <> '" TOPIC_STATUS "'",
	[WALK] = "SELECT topic, true, require_token, expires_ms, 0 FROM topics WHERE topic > ?1 "
		 "AND expires_ms > ?2 AND topic <> '" TOPIC_STATUS "' ORDER BY topic LIMIT ?3",
	[COUNT] = "SELECT EXISTS (SELECT 1 FROM topics WHERE topic = ?1), topics FROM topic_count",
	/* An enum topic_verdict. A time to live has been on its way for a moment: that is no
	 * change.
	 */
	[JUDGE] = "SELECT CASE "
		  "WHEN EXISTS (SELECT 1 FROM topics_to_relay WHERE topic = ?1) THEN 0 "
		  "WHEN ?5 = 0 THEN count(*) "
		  "WHEN count(*) = 0 THEN 1 + ((SELECT topics FROM topic_count) > ?3) "
		  "ELSE max(require_token) <> ?4 OR "
		  "abs(max(expires_ms) - ?5) >= max(1, min(1000, (?5 - ?2) / 8)) "
		  "END FROM topics WHERE topic = ?1",
	[PUT] = "INSERT INTO topics (topic, require_token, registered_ms, expires_ms) "
		"SELECT ?1, ?4, ?2, ?5 WHERE (EXISTS (SELECT 1 FROM topics WHERE topic = ?1) "
		"OR (SELECT topics FROM topic_count) <= ?3) "
		"AND NOT EXISTS (SELECT 1 FROM topics_to_relay WHERE topic = ?1) "
		"ON CONFLICT (topic) DO UPDATE SET "
		"require_token = excluded.require_token, expires_ms = excluded.expires_ms, "
		"registered_ms = CASE WHEN topics.expires_ms > excluded.registered_ms "
		"THEN topics.registered_ms ELSE excluded.registered_ms END",
	[REMOVE] = "DELETE FROM topics WHERE topic = ?1 "
		   "AND NOT EXISTS (SELECT 1 FROM topics_to_relay WHERE topic = ?1)",
};

struct topic_rows {
	struct database *database;
	sqlite3_stmt *statements[STATEMENTS];
};

struct topic_rows *topic_rows_new(struct database *database)
{
	struct topic_rows *rows = xcalloc(1, sizeof(*rows));

	rows->database = database;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &rows->statements[i], sql[i]);
	return rows;
}

void topic_rows_free(struct topic_rows *rows)
{
	free(rows);
}

/* Borrows the topic until the statement is bound again. `number` is ?3. */
static sqlite3_stmt *bound(struct topic_rows *rows, enum statement which, const char *topic,
			   size_t len, int64_t number)
{
	sqlite3_stmt *statement = rows->statements[which];

	sqlite3_bind_text64(statement, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(statement, 2, clock_wall_ms());
	sqlite3_bind_int64(statement, 3, number);
	return statement;
}

static sqlite3_stmt *bound_row(struct topic_rows *rows, enum statement which,
			       const struct topic_row *row, int64_t max_topics)
{
	sqlite3_stmt *statement = bound(rows, which, row->name, row->len, max_topics);

	sqlite3_bind_int(statement, 4, row->require_token);
	sqlite3_bind_int64(statement, 5, row->is_registered ? row->expires_ms : 0);
	return statement;
}

/* Reads rows with the columns of TO_RELAY. A topic that nobody could have registered is passed by.
 */
static enum database_status read_rows(sqlite3_stmt *statement, struct topic_row *out, size_t *count)
{
	int result;

	*count = 0;
	while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
		struct topic_row *row = &out[*count];
		const void *name = sqlite3_column_blob(statement, 0);
		size_t len = (size_t)sqlite3_column_bytes(statement, 0);

		if (topic_name_fault(name, len))
			continue;
		*row = (struct topic_row){
			.len = len,
			.is_registered = sqlite3_column_int(statement, 1) != 0,
			.require_token = sqlite3_column_int(statement, 2) != 0,
			.expires_ms = sqlite3_column_int64(statement, 3),
			.changes = sqlite3_column_int64(statement, 4),
		};
		memcpy(row->name, name, len);
		++*count;
	}
	sqlite3_reset(statement);
	return database_status_of(result);
}

enum database_status topic_rows_to_relay(struct topic_rows *rows, struct topic_row *out, size_t max,
					 size_t *count)
{
	return read_rows(bound(rows, TO_RELAY, "", 0, (int64_t)max), out, count);
}

enum database_status topic_rows_relayed(struct topic_rows *rows, const struct topic_row *row)
{
	return database_run(bound(rows, RELAYED, row->name, row->len, row->changes));
}

enum database_status topic_rows_give(struct topic_rows *rows, int64_t since_ms)
{
	return database_run(bound(rows, GIVE, "", 0, since_ms));
}

enum database_status topic_rows_walk(struct topic_rows *rows, const struct topic_row *last,
				     struct topic_row *out, size_t max, size_t *count)
{
	const struct topic_row after = *last;

	return read_rows(bound(rows, WALK, after.name, after.len, (int64_t)max), out, count);
}

bool topic_rows_wants(struct topic_rows *rows, const char *topic, size_t len, int64_t max_topics,
		      bool *is_full)
{
	enum { IS_KNOWN, TOPICS, NUMBERS };
	int64_t now[NUMBERS] = {0};
	bool is_read = database_read_numbers(bound(rows, COUNT, topic, len, 0), now, NUMBERS) ==
		       DATABASE_OK;

	*is_full = is_read && now[TOPICS] > max_topics;
	return !is_read || (!now[IS_KNOWN] && !*is_full);
}

enum topic_verdict topic_rows_judge(struct topic_rows *rows, const struct topic_row *row,
				    int64_t max_topics)
{
	int64_t verdict = TOPIC_SAME;

	if (!topic_name_is_reserved(row->name, row->len) &&
	    database_read_numbers(bound_row(rows, JUDGE, row, max_topics), &verdict, 1) !=
		    DATABASE_OK)
		return TOPIC_UNKNOWN;
	return (enum topic_verdict)verdict;
}

enum database_status topic_rows_follow(struct topic_rows *rows, const struct topic_row *row,
				       int64_t max_topics)
{
	return database_run(bound_row(rows, row->is_registered ? PUT : REMOVE, row, max_topics));
}
