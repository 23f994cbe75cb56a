/*
 * The database, the gateway and the care for both, see service.h. State: all that the API holds
 * open. service_open may block for seconds while another program migrates; the others as store.h
 * and housekeeping.h say. Trouble with the database is logged when it begins and when it ends, not
 * for each request.
 */
#include "api/service.h"

#include <errno.h>

#include "shared/alloc.h"
#include "shared/clock.h"
#include "shared/log.h"

enum {
	UPKEEP_INTERVAL_MS = 1000,
	UPKEEP_REQUESTS = 100,
	UPKEEP_BYTES =
		4 * 1024 * 1024, /* of payloads: they are what the write-ahead log grows by */
	UPKEEP_STEPS = 4, /* a longer backlog is left for the next time */
	UPKEEP_WAIT_MS = 50
};

struct service *service_open(const struct config *config)
{
	struct service *service = xcalloc(1, sizeof(*service));
	char why[DATABASE_WHY_SIZE];

	service->config = config;
	service->database = database_open(config, why);
	if (!service->database) {
		log_event(LOG_ERROR, "no database", log_text("state_dir", config->state_dir),
			  log_text("why", why));
		goto fail;
	}
	service->liveness = liveness_open(config->state_dir);
	if (!service->liveness) {
		log_event(LOG_ERROR, "cannot open gateway.lock",
			  log_text("state_dir", config->state_dir),
			  log_text("why", strerror(errno)));
		goto fail;
	}
	service->store = store_open(config, service->database, service->liveness);
	service->housekeeping = housekeeping_new(service->database, config);
	service->notify = notify_new(config->state_dir);
	return service;
fail:
	service_close(service);
	return NULL;
}

void service_close(struct service *service)
{
	if (!service)
		return;
	notify_free(service->notify);
	housekeeping_free(service->housekeeping);
	store_close(service->store);
	liveness_close(service->liveness);
	database_close(service->database);
	free(service);
}

bool service_available(struct service *service, enum service_use use, enum store_outcome outcome,
		       struct response *response)
{
	const char *use_text = use == SERVICE_READ ? "read" : "write";
	bool trouble = outcome == STORE_UNAVAILABLE;

	if (trouble != service->in_trouble[use]) {
		service->in_trouble[use] = trouble;
		if (trouble) /* "not an error" of SQLite's: the write lock was not to be had */
			log_event(LOG_WARN, "database unavailable", log_text("use", use_text),
				  log_text("why", store_why(service->store)),
				  log_text("sqlite", database_error(service->database)));
		else
			log_event(LOG_INFO, "database available again", log_text("use", use_text));
	}
	if (trouble)
		response_error(response, 503, "unavailable: %s", store_why(service->store));
	return !trouble;
}

void service_tap(struct service *service)
{
	if (service->tap_due)
		notify_gateway(service->notify);
	service->tap_due = false;
}

void service_upkeep(struct service *service)
{
	int64_t now_ms = clock_monotonic_ms();
	bool more = true;

	if (++service->requests_since < UPKEEP_REQUESTS && service->bytes_since < UPKEEP_BYTES &&
	    now_ms - service->upkeep_ms < UPKEEP_INTERVAL_MS)
		return;
	service->requests_since = 0;
	service->bytes_since = 0;
	service->upkeep_ms = now_ms;
	for (int step = 0; more && step < UPKEEP_STEPS; step++) {
		more = false;
		if (housekeeping_step(service->housekeeping, clock_wall_ms(), UPKEEP_WAIT_MS,
				      &more) != DATABASE_OK)
			return; /* whoever comes next tries again */
	}
}
