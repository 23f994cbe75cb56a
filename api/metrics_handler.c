/*
 * GET /internal/metrics: counters and gauges for Prometheus, all from one moment. No state. Reads
 * the database, so it never waits for writers.
 *
 * Only what is in the database is shown, not what this process has yet to add: another process may
 * answer next time, and a total must never seem to fall.
 */
#include "api/handlers.h"
#include "api/metrics_text.h"

static enum store_outcome collect(struct service *service, struct metrics *metrics)
{
	enum store_outcome outcome = store_read_begin(service->store);

	if (outcome == STORE_OK)
		outcome = store_totals(service->store, service->totals, &metrics->totals);
	if (outcome == STORE_OK)
		outcome = store_all_gauges(service->store, &metrics->gauges);
	store_read_end(service->store);
	return outcome;
}

void handle_metrics(struct service *service, const struct request *request,
		    struct response *response)
{
	struct metrics metrics;
	size_t len = 0;
	char *text;

	(void)request;
	if (!service_available(service, SERVICE_READ, collect(service, &metrics), response))
		return;
	text = metrics_text(&metrics, &len);
	if (text)
		response_metrics(response, text, len);
	else
		response_error(response, 503, "unavailable: out of memory");
	free(text);
}
