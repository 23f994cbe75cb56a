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
#include "shared/config.h"
#include "shared/housekeeping.h"

/* Told apart for the log: while a person's transaction holds the write lock, reads go well. */
enum service_use { SERVICE_READ, SERVICE_WRITE };

struct service {
	const struct config *config; /* borrowed */
	struct database *database;
	struct liveness *liveness;
	struct store *store;
	struct notify *notify;
	struct housekeeping *housekeeping;

	bool tap_due; /* a handler has committed something for the gateway */
	bool in_trouble[2]; /* by enum service_use: it failed last time, and that is logged */
	int64_t upkeep_ms; /* monotonic, of the last upkeep */
	int requests_since; /* the last upkeep */
	size_t bytes_since; /* of payloads, likewise */
};

/* NULL after logging why. Free with service_close. */
struct service *service_open(const struct config *config);
void service_close(struct service *service);

/* True when the operation was done. Else answers 503, and logs when the database worked before. */
bool service_available(struct service *service, enum service_use use, enum store_outcome outcome,
		       struct response *response);

/* Taps the gateway when there is something for it. After the answer is sent. */
void service_tap(struct service *service);

/* Housekeeping, when it is time. After the request is done with. */
void service_upkeep(struct service *service);

#endif
