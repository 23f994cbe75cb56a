/*
 * Reading how the service stands, see gauges.h. State: prepared statements.
 *
 * A gateway that is alone has counted already. Several of them (workers, or a predecessor that
 * drains) may have users and topics in common, so their sessions are looked at one by one. Topics
 * are told apart by a hash of 64 bits under a random key: two with the same hash would count as
 * one.
 */
#include "shared/counters/gauges.h"

#include <sys/stat.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/siphash.h"

enum statement { GATEWAYS, TOPICS, SESSIONS, EVENTS, SIZE, STATEMENTS };

static const char *const sql[STATEMENTS] = {
	[GATEWAYS] = "SELECT count(*), min(started_ms), max(cluster_nodes), min(sockets), "
		     "max(active_topics), max(clients), coalesce(sum(outbox_bytes), 0), "
		     "min(last_event_id) FROM gateways WHERE gateway_alive(pid)",
	[TOPICS] = "SELECT (SELECT topics FROM topic_count) - "
		   "(SELECT count(*) FROM topics WHERE expires_ms <= ?1)",
	/* Counted here: count(DISTINCT) takes several times as long. */
	[SESSIONS] = "SELECT topic, user_id FROM " LIVE_SESSIONS,
	/* Two queries, because min() and max() together look at every row. */
	[EVENTS] = "SELECT (SELECT max(id) FROM events), (SELECT min(id) FROM events)",
	[SIZE] = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
};

struct gauge_reader {
	struct database *database;
	struct liveness *liveness;
	unsigned char key[SIPHASH_KEY_SIZE];
	sqlite3_stmt *statements[STATEMENTS];
};

static void gateway_alive(sqlite3_context *context, int count, sqlite3_value **values)
{
	struct liveness *liveness = sqlite3_user_data(context);

	(void)count;
	sqlite3_result_int(context, liveness_check(liveness, sqlite3_value_int64(values[0])));
}

struct gauge_reader *gauge_reader_new(struct database *database, struct liveness *liveness)
{
	struct gauge_reader *reader = xcalloc(1, sizeof(*reader));

	sqlite3_create_function(database_handle(database), "gateway_alive", 1, SQLITE_UTF8,
				liveness, gateway_alive, NULL, NULL);
	reader->database = database;
	reader->liveness = liveness;
	xrandom(reader->key, sizeof(reader->key));
	for (size_t i = 0; i < STATEMENTS; i++)
		reader->statements[i] = database_prepare(database, sql[i]);
	return reader;
}

void gauge_reader_free(struct gauge_reader *reader)
{
	free(reader);
}

/* A set of numbers; what matters is how many different ones there are. */
struct numbers {
	uint64_t *each;
	size_t count, room;
};

static void add(struct numbers *numbers, uint64_t number)
{
	if (numbers->count == numbers->room) {
		numbers->room = numbers->room ? numbers->room * 2 : 1024;
		numbers->each = xreallocarray(numbers->each, numbers->room, sizeof(uint64_t));
	}
	numbers->each[numbers->count++] = number;
}

static int compare(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* Frees them too. */
static int64_t count_distinct(struct numbers *numbers)
{
	int64_t distinct = 0;

	if (numbers->count > 0)
		qsort(numbers->each, numbers->count, sizeof(uint64_t), compare);
	for (size_t i = 0; i < numbers->count; i++)
		distinct += i == 0 || numbers->each[i] != numbers->each[i - 1];
	free(numbers->each);
	return distinct;
}

static enum database_status count_sessions(struct gauge_reader *reader, struct gauges *gauges)
{
	sqlite3_stmt *row = reader->statements[SESSIONS];
	struct numbers topics = {0}, users = {0};
	int64_t sockets = 0, anonymous = 0;
	int result;

	while ((result = sqlite3_step(row)) == SQLITE_ROW) {
		const void *topic = sqlite3_column_text(row, 0);
		int64_t user_id = sqlite3_column_int64(row, 1);

		sockets++;
		add(&topics, siphash(reader->key, topic, (size_t)sqlite3_column_bytes(row, 0)));
		if (user_id != 0)
			add(&users, (uint64_t)user_id);
		else
			anonymous++;
	}
	sqlite3_reset(row);
	gauges->connected_sockets = sockets;
	gauges->active_topics = count_distinct(&topics);
	gauges->connected_clients = count_distinct(&users) + anonymous;
	return database_status_of(result);
}

static enum database_status read_audience(struct gauge_reader *reader, struct gauges *gauges)
{
	enum {
		COUNT,
		STARTED_MS,
		CLUSTER_NODES,
		SOCKETS,
		ACTIVE_TOPICS,
		CLIENTS,
		OUTBOX_BYTES,
		LAST_EVENT_ID,
		NUMBERS
	};
	int64_t row[NUMBERS] = {0}, topics[1] = {0}, now_ms = clock_wall_ms();
	enum database_status status =
		database_read_numbers(reader->statements[GATEWAYS], row, NUMBERS);
	int64_t up_ms = now_ms - row[STARTED_MS];

	if (status != DATABASE_OK || row[COUNT] == 0)
		return status;
	sqlite3_bind_int64(reader->statements[TOPICS], 1, now_ms);
	status = database_read_numbers(reader->statements[TOPICS], topics, 1);
	if (status != DATABASE_OK)
		return status;
	*gauges = (struct gauges){
		.gateway_alive = true,
		.uptime_s = up_ms > 0 ? up_ms / 1000 : 0, /* wall clocks step back */
		.registered_topics = topics[0],
		.active_topics = row[ACTIVE_TOPICS],
		.connected_clients = row[CLIENTS],
		.connected_sockets = row[SOCKETS],
		.cluster_nodes = row[CLUSTER_NODES],
		.gateways = row[COUNT],
		.outbox_bytes = row[OUTBOX_BYTES],
		.delivered_event_id = row[LAST_EVENT_ID],
	};
	return row[COUNT] > 1 || row[SOCKETS] < 0 ? count_sessions(reader, gauges) : DATABASE_OK;
}

enum database_status gauges_read(struct gauge_reader *reader, struct gauges *gauges)
{
	const struct gauges none = {.cluster_nodes = -1};
	enum database_status status;

	*gauges = none;
	status = read_audience(reader, gauges);
	if (status != DATABASE_OK)
		*gauges = none;
	return status;
}

static int64_t file_bytes(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 ? info.st_size : 0;
}

enum database_status gauges_read_all(struct gauge_reader *reader, struct gauges *gauges)
{
	const char *path = sqlite3_db_filename(database_handle(reader->database), "main");
	int64_t events[2] = {0}, size[1] = {0};
	enum database_status status = gauges_read(reader, gauges);

	if (status == DATABASE_OK)
		status = database_read_numbers(reader->statements[EVENTS], events, 2);
	if (status == DATABASE_OK)
		status = database_read_numbers(reader->statements[SIZE], size, 1);
	gauges->api_processes = liveness_count_api(reader->liveness);
	gauges->committed_event_id = events[0];
	gauges->event_rows = events[0] - events[1] + 1; /* ids have no gaps */
	gauges->database_bytes = size[0];
	gauges->wal_bytes = file_bytes(sqlite3_filename_wal(path));
	return status;
}
