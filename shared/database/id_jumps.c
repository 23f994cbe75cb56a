/* Jumps of the ids, see id_jumps.h. State: the table id_jumps (sql/006_jumps.sql). */
#include "shared/database/id_jumps.h"

#include "shared/base/clock.h"
#include "shared/database/schema.h"
#include "shared/database/sql.h"

/* The kernel's, which tells one boot from another. "-": unknown, in a chroot without /proc. */
static void read_boot_id(char id[SQL_ANSWER_SIZE])
{
	const char *given = getenv("WAVELOG_WORKER_BOOT_ID"); /* by a test */
	FILE *file = given ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");

	snprintf(id, SQL_ANSWER_SIZE, "%s", given ? given : "");
	if (file && !fgets(id, SQL_ANSWER_SIZE, file))
		id[0] = '\0';
	if (file)
		fclose(file);
	id[strspn(id, "0123456789abcdef-")] = '\0';
	if (!id[0])
		snprintf(id, SQL_ANSWER_SIZE, "-");
}

/* A database that is new has no tables: that alone is an SQLITE_ERROR. */
static bool ask(sqlite3 *handle, const char *sql, char answer[SQL_ANSWER_SIZE])
{
	return sql_ask(handle, sql, answer) || sqlite3_errcode(handle) == SQLITE_ERROR;
}

bool ids_newest(sqlite3 *handle, int64_t *newest)
{
	char answer[SQL_ANSWER_SIZE];
	bool is_read = ask(handle, "SELECT max(id) FROM events", answer);

	*newest = strtoll(answer, NULL, 10);
	return is_read;
}

bool ids_knows(sqlite3 *handle, int64_t id, bool *is_known)
{
	char sql[SQL_ANSWER_SIZE], answer[SQL_ANSWER_SIZE] = "";
	bool is_read = true;

	snprintf(sql, sizeof(sql), "SELECT 1 FROM events WHERE id = %lld", (long long)id);
	if (id != 0)
		is_read = ask(handle, sql, answer);
	*is_known = id == 0 || answer[0];
	return is_read;
}

bool ids_note(sqlite3 *handle, int64_t known_id, bool is_unknown, int64_t *newest,
	      char why[DATABASE_WHY_SIZE])
{
	enum { SQL_SIZE = 640, LOST_AT_MOST = 1000000 };
	int64_t next, wall_us = clock_wall_us();
	char boot[SQL_ANSWER_SIZE], then[SQL_ANSWER_SIZE], sql[SQL_SIZE];

	read_boot_id(boot);
	if (!ids_newest(handle, newest) ||
	    !sql_ask(handle,
		     "SELECT boot_id FROM id_jumps ORDER BY boot_id = '-', first_id DESC LIMIT 1",
		     then))
		goto failed;
	next = *newest + 1;
	/* A program that cannot know the boot knows nothing of another one. */
	if (*newest < known_id || is_unknown ||
	    (then[0] && then[0] != '-' && boot[0] != '-' && strcmp(boot, then) != 0)) {
		next += LOST_AT_MOST;
		next = next > known_id ? next : known_id + LOST_AT_MOST;
		next = next > wall_us ? next : wall_us;
	} else if (then[0] && (then[0] != '-' || boot[0] == '-')) {
		return true;
	}
	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE;"
		 "INSERT INTO events (id, kind, created_ms) SELECT %lld, %d, %lld WHERE %d;"
		 "INSERT OR REPLACE INTO id_jumps VALUES (%lld, %lld, '%s');"
		 "DELETE FROM id_jumps WHERE first_id < (SELECT min(id) FROM events);"
		 "COMMIT",
		 (long long)next, EVENT_IDS_JUMPED, (long long)wall_us / 1000, next > *newest + 1,
		 (long long)next, (long long)*newest, boot);
	if (sql_execute(handle, sql)) {
		*newest = next > *newest + 1 ? next : *newest;
		return true;
	}
failed:
	snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s", sqlite3_errmsg(handle));
	return false;
}
