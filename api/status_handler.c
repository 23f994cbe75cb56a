/*
 * GET /internal/status: what the service looks like at one moment, as one JSON object; and
 * GET /readyz, the same in a word. No state. Reads the database, so it never waits for writers;
 * with ?topics=1 it lists as much as there is.
 */
#include <cjson/cJSON.h>

#include "api/autostart.h"
#include "api/handlers.h"
#include "shared/base/alloc.h"
#include "shared/contract/duration.h"
#include "shared/base/version.h"

enum { DEFAULT_TOPICS = 1000 };

enum lists { NO_LISTS, SHORT_LIST, ALL_LISTS };

static void add_topic(void *context, const char *topic, size_t topic_len)
{
	char *copy = xstrndup(topic, topic_len);

	cJSON_AddItemToArray(context, cJSON_CreateString(copy));
	free(copy);
}

static enum database_status add_list(struct service *service, cJSON *object, const char *name,
				     bool is_active, int64_t limit)
{
	return store_topics(service->store, is_active, limit, add_topic,
			    cJSON_AddArrayToObject(object, name));
}

/* Adds the members that existing clients know, in the order they know, then ours. */
static enum database_status fill(struct service *service, cJSON *object, struct gauges *gauges,
				 enum lists lists)
{
	char uptime[DURATION_TEXT_SIZE], reason[AUTOSTART_TEXT_SIZE];
	enum database_status status = gauges_read(service->gauges, gauges);
	bool is_alive = gauges->gateway_alive;
	int64_t limit = !is_alive ? 0 : lists == ALL_LISTS ? -1 : DEFAULT_TOPICS;

	duration_format(gauges->uptime_s, uptime);
	cJSON_AddStringToObject(object, "status", is_alive ? "ok" : "degraded");
	cJSON_AddStringToObject(object, "version", WORKER_VERSION);
	cJSON_AddStringToObject(object, "uptime", uptime);
	cJSON_AddNumberToObject(object, "registered_topics", (double)gauges->registered_topics);
	cJSON_AddNumberToObject(object, "active_topics", (double)gauges->active_topics);
	cJSON_AddNumberToObject(object, "connected_clients", (double)gauges->connected_clients);
	cJSON_AddNumberToObject(object, "connected_sockets", (double)gauges->connected_sockets);
	if (status == DATABASE_OK && lists != NO_LISTS)
		status = add_list(service, object, "topic_list", false, limit);
	cJSON_AddNumberToObject(object, "cluster_nodes", (double)gauges->cluster_nodes);
	cJSON_AddNumberToObject(object, "dropped_pushes", (double)gauges->dropped_pushes);

	if (gauges->log_reader_pid > 0)
		cJSON_AddNumberToObject(object, "log_reader_pid", (double)gauges->log_reader_pid);
	if (!is_alive) {
		autostart_explain(service->config, reason);
		cJSON_AddStringToObject(object, "reason", reason);
	}
	if (status == DATABASE_OK && lists == ALL_LISTS)
		status = add_list(service, object, "active_topic_list", true, limit);
	return status;
}

void handle_status(struct service *service, const struct request *request,
		   struct response *response)
{
	const char *query = request->query;
	struct gauges gauges = {0};
	cJSON *object = cJSON_CreateObject();
	char *text = NULL;
	enum database_status status = store_read_begin(service->store);
	enum lists lists = SHORT_LIST;

	while (*query) { /* the last one counts, and an unknown value counts as none */
		size_t len = strcspn(query, "&");

		if (len == strlen("topics=1") && memcmp(query, "topics=1", len) == 0)
			lists = ALL_LISTS;
		else if (len == strlen("topics=0") && memcmp(query, "topics=0", len) == 0)
			lists = NO_LISTS;
		query += len + (query[len] == '&');
	}
	if (status == DATABASE_OK)
		status = fill(service, object, &gauges, lists);
	store_read_end(service->store);
	if (!service_available(service, SERVICE_READ, status, response))
		goto out;
	text = cJSON_PrintUnformatted(object);
	if (text)
		response_body(response, gauges.gateway_alive ? 200 : 503, RESPONSE_JSON, text,
			      strlen(text));
	else
		response_error(response, 503, "unavailable: out of memory");
out:
	cJSON_free(text);
	cJSON_Delete(object);
}

/* "Not ready" is an answer, not a refusal. */
void handle_readyz(struct service *service, const struct request *request,
		   struct response *response)
{
	bool is_ready = false;
	enum database_status status = store_has_gateway(service->store, &is_ready);
	const char *body = is_ready ? "ok\n" : "unavailable: no gateway is running\n";

	(void)request;
	if (service_available(service, SERVICE_READ, status, response))
		response_body(response, is_ready ? 200 : 503, RESPONSE_TEXT, body, strlen(body));
}
