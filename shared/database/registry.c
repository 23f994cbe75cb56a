/*
 * Topic look-up, see registry.h. State: a prepared statement. Runs for each poll, and on the
 * gateway's event loop for each request and each first frame; a failure comes back as a status.
 */
#include "shared/database/registry.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/database_internal.h"

struct registry {
	struct database *database;
	sqlite3_stmt *find;
};

struct registry *registry_new(struct database *database)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	registry->database = database;
	database_prepare(database, &registry->find,
			 "SELECT require_token, (SELECT max(id) FROM events), "
			 "ifnull(event_id, 9223372036854775807), EXISTS (SELECT 1 FROM id_jumps "
			 "WHERE before_id < ?3 AND first_id > ?3) FROM topics LEFT JOIN pruned "
			 "USING (topic) WHERE topic = ?1 AND expires_ms > ?2");
	return registry;
}

void registry_free(struct registry *registry)
{
	free(registry);
}

enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   int64_t position, struct registered_topic *found)
{
	sqlite3_stmt *find = registry->find;

	*found = (struct registered_topic){0};
	sqlite3_bind_text64(find, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(find, 2, clock_wall_ms());
	sqlite3_bind_int64(find, 3, position);
	int result = sqlite3_step(find);
	if (result == SQLITE_ROW) {
		found->registered = true;
		found->require_token = sqlite3_column_int(find, 0) != 0;
		found->newest_id = sqlite3_column_int64(find, 1);
		found->can_recover = position >= sqlite3_column_int64(find, 2) &&
				     position <= found->newest_id &&
				     sqlite3_column_int(find, 3) == 0;
	}
	sqlite3_reset(find);
	/* What is not known here may be known to those who have the files that were put back. */
	if ((!found->registered || position > found->newest_id) &&
	    !database_is_in_place(registry->database))
		return DATABASE_BUSY;
	return database_status_of(result);
}
