/* Jumps of the ids, see id_jumps.h. State: the table id_jumps (sql/006_jumps.sql). */
#include "shared/database/id_jumps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int64_t ids_newest(sqlite3 *handle)
{
	char answer[SQL_ANSWER_SIZE] = "";

	if (handle)
		sql_ask(handle, "SELECT max(id) FROM events", answer);
	return strtoll(answer, NULL, 10);
}

bool ids_knows(sqlite3 *handle, int64_t id)
{
	char sql[SQL_ANSWER_SIZE], answer[SQL_ANSWER_SIZE];

	snprintf(sql, sizeof(sql), "SELECT 1 FROM events WHERE id = %lld", (long long)id);
	return id == 0 || (sql_ask(handle, sql, answer) && answer[0]);
}

bool ids_note(sqlite3 *handle, int64_t known_id, char why[DATABASE_WHY_SIZE])
{
	enum { SQL_SIZE = 640, LOST_AT_MOST = 1000000 };
	int64_t newest = ids_newest(handle), wall_us = clock_wall_us(), next = newest + 1;
	char boot[SQL_ANSWER_SIZE], then[SQL_ANSWER_SIZE], sql[SQL_SIZE];

	read_boot_id(boot);
	if (!sql_ask(handle,
		     "SELECT boot_id FROM id_jumps ORDER BY boot_id = '-', first_id DESC LIMIT 1",
		     then))
		goto failed;
	/* A program that cannot know the boot knows nothing of another one. */
	if (newest < known_id ||
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
		 (long long)next, EVENT_IDS_JUMPED, (long long)wall_us / 1000, next > newest + 1,
		 (long long)next, (long long)newest, boot);
	if (sql_execute(handle, sql))
		return true;
failed:
	snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s", sqlite3_errmsg(handle));
	return false;
}
