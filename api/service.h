/*
 * What the handlers work with: the configuration, the open database and the way to the gateway, and
 * what is done after each answer.
 */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/notify.h"
#include "api/response.h"
#include "api/store.h"
#include "shared/counters/totals.h"
#include "shared/config/config.h"
#include "shared/counters/counters.h"
#include "shared/database/housekeeping.h"
#include "shared/base/log_repeat.h"

/* Told apart for the log: while a person's transaction holds the write lock, reads go well. */
enum service_use { SERVICE_READ, SERVICE_WRITE, SERVICE_HOUSEKEEPING, SERVICE_USES };

struct service {
	struct config *config; /* borrowed; changes in place, see service_refresh */
	struct reload *reload;
	struct database *database;
	struct liveness *liveness;
	struct store *store;
	struct notify *notify;
	struct housekeeping *housekeeping;

	bool tap_due; /* a handler has committed something for the gateway */
	struct counters counters; /* since the start */
	struct totals *totals;
	int64_t ticked_ms; /* monotonic, of the last service_tick */
	struct log_repeat trouble[SERVICE_USES];
	struct log_repeat no_database;
	int64_t looked_ms; /* monotonic, after the files of the database */
	int64_t upkeep_ms; /* monotonic, of the last upkeep */
	int requests_since; /* the last upkeep */
	size_t bytes_since; /* of payloads, likewise */
};

/* NULL after logging why. Free with service_close. */
struct service *service_open(struct config *config);
void service_close(struct service *service);

/* Takes a changed configuration file over, and a database that was made anew. Before a request is
 * looked at, and about once a second when nobody comes: files that were deleted must not be held
 * open, for nobody else can start anew beside them. service->database is NULL afterwards when there
 * is none. */
void service_refresh(struct service *service);

/* True when the operation was done. Else answers 503, and logs when the database worked before. */
bool service_available(struct service *service, enum service_use use, enum store_outcome outcome,
		       struct response *response);

/* Taps the gateway when there is something for it. After the answer is sent. */
void service_tap(struct service *service);

/* Housekeeping and service_tick, when it is time. After the request is done with. */
void service_upkeep(struct service *service);

/* What is to be done about once a second, also when nobody comes: what was counted goes into the
 * database and into the log. */
void service_tick(struct service *service);

#endif
