/*
 * Topic look-up, see registry.h. State: a prepared statement. Runs on the event loop, for each
 * request and each first frame; a failure comes back as a status.
 */
#include "gateway/events/registry.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

struct registry {
	sqlite3_stmt *find;
};

struct registry *registry_new(struct database *database)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	database_prepare(database, &registry->find,
			 "SELECT require_token, (SELECT max(id) FROM events), "
			 "ifnull(event_id, 9223372036854775807) FROM topics LEFT JOIN pruned "
			 "USING (topic) WHERE topic = ?1 AND expires_ms > ?2");
	return registry;
}

void registry_free(struct registry *registry)
{
	if (registry)
		sqlite3_finalize(registry->find);
	free(registry);
}

enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   struct registered_topic *found)
{
	sqlite3_stmt *find = registry->find;

	*found = (struct registered_topic){0};
	sqlite3_bind_text64(find, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(find, 2, clock_wall_ms());
	int result = sqlite3_step(find);
	if (result == SQLITE_ROW) {
		found->registered = true;
		found->require_token = sqlite3_column_int(find, 0) != 0;
		found->newest_id = sqlite3_column_int64(find, 1);
		found->pruned_id = sqlite3_column_int64(find, 2);
	}
	sqlite3_reset(find);
	return database_status_of(result);
}
