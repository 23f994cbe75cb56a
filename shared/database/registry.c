/*
 * Topic look-up, see registry.h. State: a prepared statement. Runs for each poll, and on the
 * gateway's event loop for each request and each first frame; a failure comes back as a status.
 */
#include "shared/database/registry.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/database_internal.h"
#include "shared/database/nodes.h"

struct registry {
	struct database *database;
	struct nodes *nodes; /* NULL: a single one */
	sqlite3_stmt *find;
};

struct registry *registry_new(struct database *database, struct nodes *nodes)
{
	struct registry *registry = xcalloc(1, sizeof(*registry));

	registry->database = database;
	registry->nodes = nodes;
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

/* While the topic's row is at hand, so that all of it is of the same moment. */
static int ask_nodes(struct nodes *nodes, const char *topic, size_t len,
		     const struct position *position, int64_t pruned_id,
		     struct registered_topic *found)
{
	struct nodes_missing missing = {.is_gone = true};
	int result = nodes_position(nodes, found->here.id, &found->here);

	if (result == SQLITE_OK)
		result = nodes_missing(nodes, topic, len, position, &found->here, pruned_id,
				       &missing);
	found->can_recover = result == SQLITE_OK && !missing.is_gone;
	found->after_id = missing.after_id;
	return result;
}

/* Up to which event of this node a client has had everything, as it claims. */
static int64_t claimed_id(const struct position *position, const struct position *here)
{
	return position->node == here->node ? position->id : position_newest(position, here->node);
}

enum database_status registry_find(struct registry *registry, const char *topic, size_t len,
				   const struct position *position, struct registered_topic *found)
{
	bool is_number = position && position->node == 0;
	int64_t after_id = is_number ? position->id : 0;
	sqlite3_stmt *find = registry->find;

	found->registered = found->require_token = found->can_recover = false;
	found->after_id = after_id;
	position_set_number(&found->here, 0);
	sqlite3_bind_text64(find, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(find, 2, clock_wall_ms());
	sqlite3_bind_int64(find, 3, after_id);
	int result = sqlite3_step(find);
	if (result == SQLITE_ROW) {
		int64_t newest_id = sqlite3_column_int64(find, 1);
		int64_t pruned_id = sqlite3_column_int64(find, 2);

		found->registered = true;
		found->require_token = sqlite3_column_int(find, 0) != 0;
		found->can_recover = is_number && after_id >= pruned_id && after_id <= newest_id &&
				     sqlite3_column_int(find, 3) == 0;
		position_set_number(&found->here, newest_id);
		if (registry->nodes && position)
			result = ask_nodes(registry->nodes, topic, len, position, pruned_id, found);
	}
	sqlite3_reset(find);
	/* What is not known here may be known to those who have opened files that were put back. */
	if ((!found->registered ||
	     (position && claimed_id(position, &found->here) > found->here.id)) &&
	    !database_is_in_place(registry->database))
		return DATABASE_BUSY;
	return database_status_of(result);
}
