/*
 * The gauges, see gauges.h. State: prepared statements. Reads never wait for writers (WAL). Called
 * by the store for each GET /internal/metrics.
 */
#include "api/gauges.h"

#include <sys/stat.h>

#include "shared/base/alloc.h"

struct gauge_reader {
	struct database *database;
	const struct liveness *liveness;
	sqlite3_stmt *gateways, *events, *size;
};

struct gauge_reader *gauge_reader_new(struct database *database, const struct liveness *liveness)
{
	struct gauge_reader *reader = xcalloc(1, sizeof(*reader));

	reader->database = database;
	reader->liveness = liveness;
	reader->gateways = database_prepare(
		database, "SELECT count(*), coalesce(sum(outbox_bytes), 0), min(last_event_id) "
			  "FROM gateways WHERE gateway_alive(pid)");
	/* Apart, because min() and max() together look at every row. */
	reader->events = database_prepare(
		database, "SELECT (SELECT max(id) FROM events), (SELECT min(id) FROM events)");
	reader->size = database_prepare(
		database, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
	return reader;
}

void gauge_reader_free(struct gauge_reader *reader)
{
	if (!reader)
		return;
	sqlite3_finalize(reader->gateways);
	sqlite3_finalize(reader->events);
	sqlite3_finalize(reader->size);
	free(reader);
}

static int64_t file_bytes(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0 ? info.st_size : 0;
}

enum database_status gauges_read(struct gauge_reader *reader, struct gauges *gauges)
{
	const char *path = sqlite3_db_filename(database_handle(reader->database), "main");
	int64_t gateways[3] = {0}, events[2] = {0}, size[1] = {0};
	enum database_status status = database_read_numbers(reader->gateways, gateways, 3);

	if (status == DATABASE_OK)
		status = database_read_numbers(reader->events, events, 2);
	if (status == DATABASE_OK)
		status = database_read_numbers(reader->size, size, 1);
	*gauges = (struct gauges){
		.api_processes = liveness_count_api(reader->liveness),
		.gateways = gateways[0],
		.outbox_bytes = gateways[1],
		.delivered_event_id = gateways[2],
		.committed_event_id = events[0],
		.event_rows = events[0] - events[1] + 1, /* ids are an unbroken run */
		.database_bytes = size[0],
		.wal_bytes = file_bytes(sqlite3_filename_wal(path)),
	};
	return status;
}
