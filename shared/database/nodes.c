/*
 * The nodes of a cluster, see nodes.h. State: prepared statements, and the newest event of this
 * node, which no index would find. Each look-up is a few steps in an index, for each node; never
 * blocks.
 */
#include "shared/database/nodes.h"

#include <inttypes.h>

#include "shared/base/alloc.h"

enum {
	ORIGIN_SIZE = 40,
	CLOCKS_MS = 60000, /* by how much the clocks of nodes may differ */
	FOREIGN_ROWS = 1000, /* looked at, of each foreign node */
	FOREIGN_NODES = 32
};

enum statement {
	SELF,
	OTHERS,
	OWN,
	FIRST,
	TIME,
	OWN_TIME,
	JUMPED,
	NEXT_ORIGIN,
	FOREIGN,
	STATEMENTS
};

static const char *const sql[STATEMENTS] = {
	[SELF] = "SELECT node, relayed_id IS NOT NULL, joined_id, gone_id FROM cluster",
	[OTHERS] = "SELECT node, last_id, gone_id, missing_id FROM nodes",
	[OWN] = "SELECT id FROM events WHERE id > ?1 AND id <= ?2 AND origin IS NULL AND kind < 3 "
		"ORDER BY id DESC LIMIT 1",
	[FIRST] = "SELECT id FROM events WHERE origin > ?1 AND origin < ?2 ORDER BY origin LIMIT 1",
	[TIME] = "SELECT created_ms FROM events WHERE origin > ?1 AND origin <= ?2 "
		 "ORDER BY origin DESC LIMIT 1",
	[OWN_TIME] = "SELECT created_ms FROM events WHERE id <= ?1 ORDER BY id DESC LIMIT 1",
	[JUMPED] = "SELECT 1 FROM id_jumps WHERE before_id < ?1 AND first_id > ?1",
	[NEXT_ORIGIN] = "SELECT origin FROM events WHERE origin > ?1 ORDER BY origin LIMIT 1",
	[FOREIGN] = "SELECT created_ms, topic = ?2 FROM events WHERE origin = ?1 "
		    "ORDER BY id DESC LIMIT ?3",
};

struct nodes {
	sqlite3_stmt *statements[STATEMENTS];
	uint64_t node; /* this one */
	int64_t joined_id; /* its events up to this one stay at home; INT64_MAX: all so far do */
	int64_t gone_id;
	int64_t own_id, looked_id; /* its newest event that others get, of those up to the latter */
};

struct nodes *nodes_new(struct database *database)
{
	struct nodes *nodes = xcalloc(1, sizeof(*nodes));

	nodes->joined_id = INT64_MAX;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &nodes->statements[i], sql[i]);
	return nodes;
}

void nodes_free(struct nodes *nodes)
{
	free(nodes);
}

/* SQLITE_OK after the last row, too. */
static int finish(sqlite3_stmt *statement, int result)
{
	sqlite3_reset(statement);
	return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

/* The first column of the first row, a number; *out stays when there is no row. */
static int ask(sqlite3_stmt *statement, int64_t *out)
{
	int result = sqlite3_step(statement);

	if (result == SQLITE_ROW)
		*out = sqlite3_column_int64(statement, 0);
	return finish(statement, result);
}

static uint64_t node_of(sqlite3_stmt *row)
{
	const char *text = (const char *)sqlite3_column_text(row, 0);
	int64_t number;
	uint64_t node;

	position_origin(text ? text : "", (size_t)sqlite3_column_bytes(row, 0), &node, &number);
	return node;
}

/* What `origin` is for that event of a node, or for `end` behind all of them. */
static void bind_origin(sqlite3_stmt *statement, int column, uint64_t node, int64_t number)
{
	char text[ORIGIN_SIZE];

	snprintf(text, sizeof(text), number < 0 ? "%016" PRIx64 "/" : "%016" PRIx64 ".%016" PRId64,
		 node, number);
	sqlite3_bind_text(statement, column, text, -1, SQLITE_TRANSIENT);
}

static int read_self(struct nodes *nodes)
{
	sqlite3_stmt *row = nodes->statements[SELF];
	int result = sqlite3_step(row);

	if (result == SQLITE_ROW) {
		uint64_t node = node_of(row);

		if (node != nodes->node)
			nodes->looked_id = 0;
		nodes->node = node;
		nodes->joined_id =
			sqlite3_column_int(row, 1) ? sqlite3_column_int64(row, 2) : INT64_MAX;
		nodes->gone_id = sqlite3_column_int64(row, 3);
	}
	return finish(row, result);
}

/* Only what came since the last time is looked at. */
static int find_own(struct nodes *nodes, int64_t id)
{
	sqlite3_stmt *own = nodes->statements[OWN];

	if (nodes->looked_id == 0 || nodes->looked_id > id) {
		nodes->looked_id = nodes->joined_id;
		nodes->own_id = nodes->gone_id > nodes->joined_id ? nodes->gone_id : 0;
	}
	if (nodes->joined_id >= id) /* or in no cluster yet */
		return SQLITE_OK;
	sqlite3_bind_int64(own, 1, nodes->looked_id);
	sqlite3_bind_int64(own, 2, id);
	nodes->looked_id = id;
	return ask(own, &nodes->own_id);
}

int nodes_position(struct nodes *nodes, int64_t id, struct position *here)
{
	sqlite3_stmt *row = nodes->statements[OTHERS];
	int result = read_self(nodes);

	if (result == SQLITE_OK)
		result = find_own(nodes, id);
	if (result != SQLITE_OK)
		return result;
	position_set_number(here, id);
	here->node = nodes->node;
	here->own = nodes->own_id;
	while ((result = sqlite3_step(row)) == SQLITE_ROW)
		if (sqlite3_column_int64(row, 1) > 0)
			position_set(here, node_of(row), sqlite3_column_int64(row, 1));
	return finish(row, result);
}

int nodes_pass(struct nodes *nodes, int64_t id, enum event_kind kind, bool is_own, bool *counts)
{
	bool travels = is_own && kind <= EVENT_DISCONNECT;
	int result = SQLITE_OK;

	if (travels && nodes->joined_id == INT64_MAX)
		result = read_self(nodes);
	*counts = result == SQLITE_OK && travels && id > nodes->joined_id;
	if (result != SQLITE_OK)
		return result;
	if (*counts && nodes->own_id < id)
		nodes->own_id = id;
	if (nodes->looked_id != 0 && nodes->looked_id < id)
		nodes->looked_id = id;
	return SQLITE_OK;
}

/* When the newest event was published that the client has had; 0: that is not known. */
static int find_time(struct nodes *nodes, const struct position *client, int64_t own_id,
		     int64_t *time_ms)
{
	sqlite3_stmt *time = nodes->statements[OWN_TIME];
	int64_t each_ms = 0;
	int result;

	sqlite3_bind_int64(time, 1, own_id);
	result = ask(time, &each_ms);
	*time_ms = each_ms;
	time = nodes->statements[TIME];
	for (unsigned i = 0; i <= client->count && result == SQLITE_OK; i++) {
		bool is_first = i == client->count; /* the node that gave it */
		uint64_t node = is_first ? client->node : client->others[i].node;

		bind_origin(time, 1, node, 0);
		bind_origin(time, 2, node, position_newest(client, node));
		each_ms = 0;
		result = ask(time, &each_ms);
		if (*time_ms < each_ms)
			*time_ms = each_ms;
	}
	return result;
}

/* Has this foreign node published on the topic since then? If that takes too long, it may have. */
static int look_at_foreign(struct nodes *nodes, const char *origin, const char *topic, size_t len,
			   int64_t since_ms, bool *has_published)
{
	sqlite3_stmt *row = nodes->statements[FOREIGN];
	int result, rows = 0;

	sqlite3_bind_text(row, 1, origin, -1, SQLITE_STATIC);
	sqlite3_bind_text64(row, 2, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int(row, 3, FOREIGN_ROWS);
	while ((result = sqlite3_step(row)) == SQLITE_ROW && !*has_published) {
		if (sqlite3_column_int64(row, 0) <= since_ms)
			break;
		*has_published = sqlite3_column_int(row, 1) != 0 || ++rows == FOREIGN_ROWS;
	}
	return finish(row, result);
}

/* Events of foreign nodes have no numbers: whether a client that comes from elsewhere has had one
 * of them is known only of old ones. */
static int look_at_all_foreign(struct nodes *nodes, const char *topic, size_t len, int64_t since_ms,
			       bool *has_published)
{
	sqlite3_stmt *next = nodes->statements[NEXT_ORIGIN];
	char origin[ORIGIN_SIZE] = "";
	int result;

	for (int i = 0; i < POSITION_NODES + FOREIGN_NODES && !*has_published; i++) {
		int64_t number;
		uint64_t node;

		sqlite3_bind_text(next, 1, origin, -1, SQLITE_TRANSIENT);
		result = sqlite3_step(next);
		if (result != SQLITE_ROW)
			return finish(next, result);
		const char *found = (const char *)sqlite3_column_text(next, 0);
		snprintf(origin, sizeof(origin), "%s", found ? found : "");
		sqlite3_reset(next);
		position_origin(origin, strlen(origin), &node, &number);
		if (number > 0) /* of ours: on to the next node */
			snprintf(origin, sizeof(origin), "%016" PRIx64 "/", node);
		else if ((result = look_at_foreign(nodes, origin, topic, len, since_ms,
						   has_published)) != SQLITE_OK)
			return result;
	}
	*has_published = true; /* or there are too many to tell */
	return SQLITE_OK;
}

/* What is missing of the other nodes' events; `may_be_pruned`: of those of the topic that were
 * pruned. */
static int look_at_others(struct nodes *nodes, const struct position *client, bool given_here,
			  bool may_be_pruned, struct nodes_missing *missing)
{
	sqlite3_stmt *row = nodes->statements[OTHERS], *first = nodes->statements[FIRST];
	int result;

	while ((result = sqlite3_step(row)) == SQLITE_ROW && !missing->is_gone) {
		uint64_t node = node_of(row);
		int64_t newest = position_newest(client, node), id = INT64_MAX;

		missing->is_gone = (may_be_pruned && sqlite3_column_int64(row, 2) > newest) ||
				   sqlite3_column_int64(row, 3) > newest;
		if (given_here || sqlite3_column_int64(row, 1) <= newest)
			continue;
		bind_origin(first, 1, node, newest);
		bind_origin(first, 2, node, -1);
		result = ask(first, &id);
		if (result != SQLITE_OK)
			break;
		if (missing->after_id >= id)
			missing->after_id = id - 1;
	}
	return finish(row, result);
}

int nodes_missing(struct nodes *nodes, const char *topic, size_t len, const struct position *client,
		  const struct position *here, int64_t pruned_id, struct nodes_missing *missing)
{
	bool given_here = client->node == here->node;
	int64_t own_id = position_newest(client, here->node), jumped = 0, time_ms;
	int64_t newest_id = given_here && client->id > own_id ? client->id : own_id;
	/* Whoever has had an event of this node has had, as a rule, what was here before it, for
	 * that comes first everywhere: so what was pruned of the topic is no loss. */
	bool may_be_pruned = !given_here && own_id < pruned_id;
	sqlite3_stmt *jump = nodes->statements[JUMPED];
	int result;

	if (own_id < nodes->joined_id) /* those from before are none of the cluster's */
		own_id = nodes->joined_id < here->id ? nodes->joined_id : here->id;
	missing->is_gone = true;
	if (client->node == 0 || newest_id > here->id || pruned_id > here->id ||
	    (given_here && client->id < pruned_id) || (may_be_pruned && own_id < nodes->gone_id))
		return SQLITE_OK;
	sqlite3_bind_int64(jump, 1, newest_id);
	result = ask(jump, &jumped);
	if (result != SQLITE_OK || jumped)
		return result;
	missing->is_gone = false;
	missing->after_id = given_here ? client->id : own_id < here->own ? own_id : here->id;
	result = look_at_others(nodes, client, given_here, may_be_pruned, missing);
	if (missing->after_id < pruned_id) /* it has had what is gone */
		missing->after_id = pruned_id;
	if (result != SQLITE_OK || missing->is_gone || given_here)
		return result;
	result = find_time(nodes, client, own_id, &time_ms);
	if (result != SQLITE_OK)
		return result;
	return look_at_all_foreign(nodes, topic, len, time_ms - CLOCKS_MS, &missing->is_gone);
}
