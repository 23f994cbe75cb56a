/* A node in its cluster, see cluster_reader.h. State: prepared statements. A failure comes back as
 * a status. */
#include "shared/database/cluster_reader.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum statement { STANDING, LAG, NODES, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[STANDING] = "SELECT node, cluster_nodes, since_ms, why FROM cluster",
	/* Pushes and orders; the other kinds stay at home. */
	[LAG] = "SELECT count(*), min(created_ms) FROM events "
		"WHERE id > (SELECT relayed_id FROM cluster) AND origin IS NULL AND kind < 3",
	[NODES] = "SELECT node, name, version, is_alive, sockets, clients, topics FROM nodes "
		  "ORDER BY name, node",
};

struct cluster_reader {
	sqlite3_stmt *statements[STATEMENTS];
};

struct cluster_reader *cluster_reader_new(struct database *database)
{
	struct cluster_reader *reader = xcalloc(1, sizeof(*reader));

	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &reader->statements[i], sql[i]);
	return reader;
}

void cluster_reader_free(struct cluster_reader *reader)
{
	free(reader);
}

static const char *text_of(sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	return text ? text : "";
}

enum database_status cluster_reader_standing(struct cluster_reader *reader,
					     struct cluster_standing *standing)
{
	sqlite3_stmt *row = reader->statements[STANDING];
	int result = sqlite3_step(row);

	*standing = (struct cluster_standing){.nodes = -1, .is_away = true};
	if (result == SQLITE_ROW) {
		bool is_reached = sqlite3_column_type(row, 3) == SQLITE_NULL;

		snprintf(standing->node, sizeof(standing->node), "%s", text_of(row, 0));
		standing->since_ms = sqlite3_column_int64(row, 2);
		standing->is_away = !is_reached || standing->since_ms == 0;
		if (standing->is_away)
			snprintf(standing->why, sizeof(standing->why), "%s",
				 is_reached ? "not reached yet" : text_of(row, 3));
		else
			standing->nodes = sqlite3_column_int64(row, 1);
	}
	sqlite3_reset(row);
	return database_status_of(result);
}

enum database_status cluster_reader_lag(struct cluster_reader *reader, struct cluster_lag *lag)
{
	enum { COUNT, OLDEST, NUMBERS };
	int64_t row[NUMBERS] = {0}, now_ms = clock_wall_ms();
	enum database_status status = database_read_numbers(reader->statements[LAG], row, NUMBERS);

	lag->events = row[COUNT];
	/* Wall clocks step back. */
	lag->ms = row[COUNT] > 0 && now_ms > row[OLDEST] ? now_ms - row[OLDEST] : 0;
	return status;
}

enum database_status cluster_reader_nodes(struct cluster_reader *reader, cluster_node_visitor *each,
					  void *context)
{
	sqlite3_stmt *row = reader->statements[NODES];
	int result;

	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const struct cluster_node node = {
			.id = text_of(row, 0),
			.name = text_of(row, 1),
			.version = text_of(row, 2),
			.is_alive = sqlite3_column_int(row, 3) != 0,
			.sockets = sqlite3_column_int64(row, 4),
			.clients = sqlite3_column_int64(row, 5),
			.topics = sqlite3_column_int64(row, 6),
		};

		each(context, &node);
	}
	sqlite3_reset(row);
	return database_status_of(result);
}
