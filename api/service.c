/*
 * The database, the way to the gateway, and the care of both, see service.h. State: all that the
 * API holds open. service_open may block for seconds while another program migrates; the others as
 * store.h and housekeeping.h say. Trouble with the database is logged when it begins and when it
 * ends, not for each request.
 */
#include "api/service.h"

#include <errno.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/state_dir.h"
#include "shared/config/reload.h"

enum {
	LOOK_INTERVAL_MS = 100,
	UPKEEP_INTERVAL_MS = 1000,
	UPKEEP_REQUESTS = 1000,
	UPKEEP_QUIET_MS = 2,
	UPKEEP_BYTES = 4 * 1024 * 1024, /* of payloads, by which the write-ahead log grows */
	UPKEEP_STEPS = 4, /* a longer backlog is left for the next time */
	UPKEEP_WAIT_MS = 50,
	SETTLE_BYTES = 1024 * 1024, /* of the log, which the next process would have to read */
	TICK_INTERVAL_MS = 1000,
	LAST_WAIT_MS = 500,
	REASON_SIZE = 200
};

struct service *service_open(struct config *config, int64_t wait_ms)
{
	static const char *const uses[SERVICE_USES] = {"read", "write", "housekeeping", "counting"};
	struct service *service = xcalloc(1, sizeof(*service));
	char why[DATABASE_WHY_SIZE], reason[REASON_SIZE], path[STATE_DIR_PATH_SIZE];

	service->config = config;
	for (size_t i = 0; i < SERVICE_USES; i++)
		service->trouble[i] = (struct log_repeat){LOG_WARN, "database unavailable", "use",
							  .cause = uses[i]};
	service->notify = notify_new(config->state_dir);
	service->database = database_open(config, wait_ms, why);
	if (!service->database)
		goto failed;
	service->liveness = liveness_open(config->state_dir);
	if (!service->liveness) {
		state_dir_file(config->state_dir, "gateway.lock", path);
		state_dir_explain(path, errno, reason, sizeof(reason));
		snprintf(why, sizeof(why), "cannot open gateway.lock: %s", reason);
		goto failed;
	}
	if (*config->redis_url)
		service->cluster = cluster_reader_new(service->database);
	service->gauges = gauge_reader_new(service->database, service->liveness, service->cluster);
	service->store = store_open(config, service->database);
	service->polls = polls_open(config, service->database, why);
	if (!service->polls)
		goto failed;
	service->housekeeping = housekeeping_new(service->database);
	service->totals = totals_new(service->database);
	if (database_is_prepared(service->database, why)) {
		liveness_claim_api(service->liveness, getpid());
		return service;
	}
failed:
	log_event(LOG_ERROR, "no database", log_text("state_dir", config->state_dir),
		  log_text("why", why));
	service_close(service);
	return NULL;
}

void service_close(struct service *service)
{
	if (!service)
		return;
	notify_free(service->notify);
	if (service->totals && totals_are_due(service->totals, &service->counters))
		totals_write(service->totals, &service->counters, LAST_WAIT_MS);
	for (size_t i = 0; i < SERVICE_USES; i++)
		log_repeat_tick(&service->trouble[i], clock_monotonic_ms(), true);
	housekeeping_free(service->housekeeping);
	polls_close(service->polls);
	store_close(service->store);
	gauge_reader_free(service->gauges);
	cluster_reader_free(service->cluster);
	liveness_close(service->liveness);
	database_close(service->database);
	totals_free(service->totals);
	free(service);
}

void service_refresh(struct service *service)
{
	int64_t now_ms = clock_monotonic_ms();

	if (reload_if_changed(service->config))
		polls_configure(service->polls);
	if (now_ms - service->looked_ms < LOOK_INTERVAL_MS)
		return;
	service->looked_ms = now_ms;
	/* Files that were deleted or replaced are put back, while a caller waits. */
	database_look_after(service->database, now_ms + service->config->busy_timeout_ms);
	liveness_look_after(service->liveness);
}

bool service_available(struct service *service, enum service_use use, enum database_status status,
		       struct response *response)
{
	struct log_repeat *trouble = &service->trouble[use];
	const char *why = database_status_text(status);

	if (status == DATABASE_OK) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "database available again");
		return true;
	}
	if (status == DATABASE_FULL && !database_log_is_full(service->database))
		housekeeping_make_room(service->housekeeping);
	log_repeat_event(trouble, clock_monotonic_ms(), log_text("why", why),
			 log_text("sqlite", database_error(service->database)));
	if (response)
		response_error(response, 503, "unavailable: %s", why);
	return false;
}

void service_tap(struct service *service)
{
	if (service->tap_due)
		notify_gateway(service->notify);
	service->tap_due = false;
}

void service_tick(struct service *service)
{
	int64_t now_ms = clock_monotonic_ms();

	service->ticked_ms = now_ms;
	for (size_t i = 0; i < SERVICE_USES; i++)
		log_repeat_tick(&service->trouble[i], now_ms, false);
	if (!totals_are_due(service->totals, &service->counters))
		return;
	/* Callers have already waited for a locked database: no waiting for it here. */
	enum database_status status =
		totals_write(service->totals, &service->counters,
			     service->trouble[SERVICE_WRITE].is_on ? 0 : UPKEEP_WAIT_MS);
	if (status != DATABASE_BUSY)
		service_available(service, SERVICE_COUNTING, status, NULL);
}

int service_upkeep_due(struct service *service)
{
	if (++service->requests_since >= UPKEEP_REQUESTS || service->bytes_since >= UPKEEP_BYTES)
		return 0;
	return clock_monotonic_ms() - service->upkeep_ms < UPKEEP_INTERVAL_MS ? -1
									      : UPKEEP_QUIET_MS;
}

void service_upkeep(struct service *service)
{
	int64_t now_ms = clock_monotonic_ms();
	bool more = true;

	if (now_ms - service->ticked_ms >= TICK_INTERVAL_MS)
		service_tick(service);
	service->requests_since = 0;
	service->bytes_since = 0;
	service->upkeep_ms = now_ms;
	for (int step = 0; more && step < UPKEEP_STEPS; step++) {
		enum database_status status = housekeeping_step(
			service->housekeeping, housekeeping_limits_of(service->config),
			clock_wall_ms(), UPKEEP_WAIT_MS, &more);

		/* It does not matter if others hold the lock, and after a failure whoever comes
		 * next tries again. */
		if (status != DATABASE_BUSY)
			service_available(service, SERVICE_HOUSEKEEPING, status, NULL);
		more = more && status == DATABASE_OK;
	}
}

/* Whoever opens the database alone reads the whole log, and cannot see how much of it has been
 * copied: so the log begins anew only if the process that has taken the checkpoint commits once
 * more. That is what service_close does, for there is something to be counted. */
void service_settle(struct service *service)
{
	int64_t bytes = database_wal_bytes(service->database);
	bool more;

	if (bytes >= SETTLE_BYTES) {
		housekeeping_step(service->housekeeping, housekeeping_limits_of(service->config),
				  clock_wall_ms(), UPKEEP_WAIT_MS, &more);
		database_checkpoint(service->database, clock_monotonic_ms() + UPKEEP_WAIT_MS);
	}
	/* The counters would be all that this process writes. */
	if (bytes == 0)
		totals_added(service->totals, &service->counters);
}
