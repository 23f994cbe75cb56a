/*
 * Reading how the service is doing, see gauges.h. State: prepared statements.
 *
 * A gateway that is alone has counted already. Several of them (workers, or a predecessor that
 * drains) may have users and topics in common, so their sessions are looked at one by one.
 */
#include "shared/counters/gauges.h"

#include <sys/stat.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum statement { GATEWAYS, SESSIONS, STORE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[GATEWAYS] = "SELECT count(*), min(started_ms), "
		     "coalesce(sum(outbox_bytes), 0), min(last_event_id), "
		     "(SELECT topics FROM topic_count) - "
		     "(SELECT count(*) FROM topics WHERE expires_ms <= ?1), "
		     "(SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'drops'), "
		     "min(sockets), max(active_topics), max(clients) "
		     "FROM gateways WHERE gateway_alive(pid)",
	/* Sorted by GROUP BY, in half the time that count(DISTINCT) takes. */
	[SESSIONS] = "SELECT (SELECT count(*) FROM " LIVE_SESSIONS "), "
		     "(SELECT count(*) FROM (SELECT 1 FROM " LIVE_SESSIONS " GROUP BY topic)), "
		     "(SELECT count(*) FROM (SELECT 1 FROM " LIVE_SESSIONS
		     " AND user_id != 0 GROUP BY user_id)) + "
		     "(SELECT count(*) FROM " LIVE_SESSIONS " AND user_id = 0)",
	[STORE] = "SELECT (SELECT max(id) FROM events), (SELECT events FROM event_count), "
		  "page_count * page_size FROM pragma_page_count, pragma_page_size",
};

struct gauge_reader {
	struct database *database;
	struct liveness *liveness;
	struct cluster_reader *cluster; /* NULL: there is none */
	sqlite3_stmt *statements[STATEMENTS];
};

static void gateway_alive(sqlite3_context *context, int count, sqlite3_value **values)
{
	struct liveness *liveness = sqlite3_user_data(context);

	(void)count;
	sqlite3_result_int(context, liveness_check(liveness, sqlite3_value_int64(values[0])));
}

struct gauge_reader *gauge_reader_new(struct database *database, struct liveness *liveness,
				      struct cluster_reader *cluster)
{
	struct gauge_reader *reader = xcalloc(1, sizeof(*reader));

	database_add_function(database, (struct database_function){.name = "gateway_alive",
								   .call = gateway_alive,
								   .context = liveness});
	reader->database = database;
	reader->liveness = liveness;
	reader->cluster = cluster;
	for (size_t i = 0; i < STATEMENTS; i++)
		database_prepare(database, &reader->statements[i], sql[i]);
	return reader;
}

void gauge_reader_free(struct gauge_reader *reader)
{
	free(reader);
}

enum database_status gauges_read(struct gauge_reader *reader, struct gauges *gauges)
{
	enum { COUNT, START, BYTES, LAST, KNOWN, DROPS, SOCKETS, TOPICS, CLIENTS, NUMBERS };
	const char *path = sqlite3_db_filename(database_handle(reader->database), "main");
	int64_t row[NUMBERS] = {0}, now_ms = clock_wall_ms(), log_reader = 0;
	struct cluster_standing cluster = {.nodes = -1};
	enum database_status status;
	struct stat wal = {0};

	stat(sqlite3_filename_wal(path), &wal);
	/* Its file stays that long for a while; ours read for moments. */
	if (wal.st_size >= DATABASE_LONG_LOG_BYTES)
		log_reader = database_find_reader(reader->database);
	if (liveness_is_ours(reader->liveness, log_reader))
		log_reader = 0;
	*gauges = (struct gauges){
		.cluster_nodes = -1, .wal_bytes = wal.st_size, .log_reader_pid = log_reader};
	sqlite3_bind_int64(reader->statements[GATEWAYS], 1, now_ms);
	status = database_read_numbers(reader->statements[GATEWAYS], row, NUMBERS);
	if (status == DATABASE_OK && (row[COUNT] > 1 || row[SOCKETS] < 0))
		status = database_read_numbers(reader->statements[SESSIONS], row + SOCKETS, 3);
	if (status == DATABASE_OK && row[COUNT] > 0 && reader->cluster)
		status = cluster_reader_standing(reader->cluster, &cluster);
	if (status != DATABASE_OK || row[COUNT] == 0)
		return status;
	*gauges = (struct gauges){
		.gateway_alive = true,
		/* Wall clocks step back. */
		.uptime_s = now_ms > row[START] ? (now_ms - row[START]) / 1000 : 0,
		.registered_topics = row[KNOWN],
		.active_topics = row[TOPICS],
		.connected_clients = row[CLIENTS],
		.connected_sockets = row[SOCKETS],
		.cluster_nodes = cluster.nodes,
		.dropped_pushes = row[DROPS],
		.gateways = row[COUNT],
		.outbox_bytes = row[BYTES],
		.delivered_event_id = row[LAST],
		.wal_bytes = wal.st_size,
		.log_reader_pid = log_reader,
	};
	return DATABASE_OK;
}

/* How far Redis is behind this node. */
static enum database_status read_cluster(struct gauge_reader *reader, struct gauges *gauges)
{
	struct cluster_standing state;
	struct cluster_lag lag;
	enum database_status status = cluster_reader_standing(reader->cluster, &state);
	int64_t now_ms = clock_wall_ms();

	if (status == DATABASE_OK)
		status = cluster_reader_lag(reader->cluster, &lag);
	if (status != DATABASE_OK)
		return status;
	gauges->lag_events = lag.events;
	gauges->lag_s = lag.ms / 1000;
	if (gauges->gateway_alive && state.since_ms > 0)
		gauges->away_s = state.is_away && now_ms > state.since_ms
					 ? (now_ms - state.since_ms) / 1000
					 : 0;
	return DATABASE_OK;
}

enum database_status gauges_read_all(struct gauge_reader *reader, struct gauges *gauges)
{
	enum { NEWEST, EVENTS, BYTES, NUMBERS };
	int64_t row[NUMBERS] = {0};
	enum database_status status = gauges_read(reader, gauges);

	if (status == DATABASE_OK)
		status = database_read_numbers(reader->statements[STORE], row, NUMBERS);
	gauges->lag_events = gauges->lag_s = gauges->away_s = -1;
	if (status == DATABASE_OK && reader->cluster)
		status = read_cluster(reader, gauges);
	gauges->api_processes = liveness_count_api(reader->liveness);
	gauges->committed_event_id = row[NEWEST];
	gauges->event_rows = row[EVENTS];
	gauges->database_bytes = row[BYTES];
	return status;
}
