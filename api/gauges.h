/*
 * How large the database is and how far the gateways have come, for GET /internal/metrics. Reads
 * only, and none that looks at many rows.
 */
#ifndef API_GAUGES_H
#define API_GAUGES_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/database/database.h"
#include "shared/database/liveness.h"

struct gauge_reader;

struct gauges {
	int64_t api_processes;
	int64_t gateways; /* living ones */
	int64_t outbox_bytes; /* that wait in them */
	int64_t delivered_event_id; /* of the one that is furthest behind; 0 without a gateway */
	int64_t committed_event_id;
	int64_t event_rows;
	int64_t database_bytes;
	int64_t wal_bytes; /* the write-ahead log's file */
};

/* Both are borrowed; `database` has the function of census.h. Free with gauge_reader_free before it
 * is closed. */
struct gauge_reader *gauge_reader_new(struct database *database, const struct liveness *liveness);
void gauge_reader_free(struct gauge_reader *reader);

enum database_status gauges_read(struct gauge_reader *reader, struct gauges *gauges);

#endif
