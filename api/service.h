/*
 * What the handlers work with: the configuration, the open database and the way to the gateway, and
 * what is done after each answer.
 */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/polls.h"
#include "api/response.h"
#include "api/store.h"
#include "shared/base/log_repeat.h"
#include "shared/base/notify.h"
#include "shared/config/config.h"
#include "shared/counters/counters.h"
#include "shared/counters/gauges.h"
#include "shared/counters/totals.h"
#include "shared/database/housekeeping.h"

/* Told apart for the log: while somebody's transaction holds the write lock, reads still work. */
enum service_use {
	SERVICE_READ,
	SERVICE_WRITE,
	SERVICE_HOUSEKEEPING,
	SERVICE_COUNTING,
	SERVICE_USES
};

struct service {
	struct config *config; /* borrowed; changes in place, see service_refresh */
	struct database *database;
	struct liveness *liveness;
	struct cluster_reader *cluster; /* NULL: there is no redis_url */
	struct gauge_reader *gauges;
	struct store *store;
	struct polls *polls;
	struct notify *notify;
	struct housekeeping *housekeeping;

	bool tap_due; /* something for the gateway has been committed (in a cluster a register too)
		       */
	struct counters counters; /* since the start */
	struct totals *totals;
	int64_t ticked_ms; /* monotonic, of the last service_tick */
	struct log_repeat trouble[SERVICE_USES];
	int64_t looked_ms; /* monotonic, of the last look at the database's files */
	int64_t upkeep_ms; /* monotonic, of the last upkeep */
	int requests_since; /* the last upkeep */
	size_t bytes_since; /* of payloads, likewise */
};

/* Waits at most `wait_ms` at each lock that it meets. NULL after logging why. Free with
 * service_close. */
struct service *service_open(struct config *config, int64_t wait_ms);
void service_close(struct service *service);

/* Takes over a changed configuration file, and puts back files of the database that others have
 * deleted or replaced. Call it before a request is looked at, and about once a second when nobody
 * comes. */
void service_refresh(struct service *service);

/* True when the operation succeeded. Otherwise answers 503 (`response` may be NULL), and logs it if
 * the database had worked before. */
bool service_available(struct service *service, enum service_use use, enum database_status status,
		       struct response *response);

/* Taps the gateway when there is something for it. After the answer is sent. */
void service_tap(struct service *service);

/* Once a request has been dealt with: -1 when no upkeep is due, else how many milliseconds without
 * a newcomer to wait for before it. */
int service_upkeep_due(struct service *service);

/* Housekeeping, and service_tick when it is time. */
void service_upkeep(struct service *service);

/* Instead of all upkeep, for a process that has served one request and is about to end: keeps the
 * database small even if there are no other processes than such. */
void service_settle(struct service *service);

/* What is due about once a second, even when nobody comes: what was counted goes into the database
 * and the log. */
void service_tick(struct service *service);

#endif
