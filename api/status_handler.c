/*
 * GET /internal/status: what the service looks like at one moment, as one JSON object. No state.
 * Reads the database, so it never waits for writers; with ?topics=1 it lists as much as there is.
 */
#include <cjson/cJSON.h>

#include "api/handlers.h"
#include "shared/base/alloc.h"
#include "shared/contract/duration.h"
#include "shared/base/version.h"

enum { DEFAULT_TOPICS = 1000 };

enum lists { NO_LISTS, SHORT_LIST, ALL_LISTS };

static bool is_pair(const char *at, size_t len, const char *pair)
{
	return len == strlen(pair) && memcmp(at, pair, len) == 0;
}

/* The value of `topics` in a query string; the last one counts, and an unknown value counts as
 * none. */
static enum lists lists_asked_for(const char *query)
{
	enum lists lists = SHORT_LIST;

	while (*query) {
		size_t len = strcspn(query, "&");

		if (is_pair(query, len, "topics=1"))
			lists = ALL_LISTS;
		else if (is_pair(query, len, "topics=0"))
			lists = NO_LISTS;
		query += len + (query[len] == '&');
	}
	return lists;
}

static void add_topic(void *context, const char *topic, size_t topic_len)
{
	char *copy = xstrndup(topic, topic_len);

	cJSON_AddItemToArray(context, cJSON_CreateString(copy));
	free(copy);
}

static bool add_list(struct service *service, cJSON *object, const char *name, bool active,
		     int64_t limit, bool is_alive, struct response *response)
{
	cJSON *list = cJSON_AddArrayToObject(object, name);

	return !is_alive ||
	       service_available(service, SERVICE_READ,
				 store_topics(service->store, active, limit, add_topic, list),
				 response);
}

/* The members that existing clients know, in the order they know, then ours. */
static bool fill(struct service *service, cJSON *object, const struct gauges *gauges,
		 enum lists lists, struct response *response)
{
	char uptime[DURATION_TEXT_SIZE];
	bool is_alive = gauges->gateway_alive;

	duration_format(gauges->uptime_s, uptime);
	cJSON_AddStringToObject(object, "status", is_alive ? "ok" : "degraded");
	cJSON_AddStringToObject(object, "version", WORKER_VERSION);
	cJSON_AddStringToObject(object, "uptime", uptime);
	cJSON_AddNumberToObject(object, "registered_topics", (double)gauges->registered_topics);
	cJSON_AddNumberToObject(object, "active_topics", (double)gauges->active_topics);
	cJSON_AddNumberToObject(object, "connected_clients", (double)gauges->connected_clients);
	cJSON_AddNumberToObject(object, "connected_sockets", (double)gauges->connected_sockets);
	if (lists != NO_LISTS &&
	    !add_list(service, object, "topic_list", false,
		      lists == ALL_LISTS ? -1 : DEFAULT_TOPICS, is_alive, response))
		return false;
	cJSON_AddNumberToObject(object, "cluster_nodes", (double)gauges->cluster_nodes);

	if (!is_alive)
		cJSON_AddStringToObject(object, "reason", "no gateway is running");
	return lists != ALL_LISTS ||
	       add_list(service, object, "active_topic_list", true, -1, is_alive, response);
}

static bool collect(struct service *service, cJSON *object, struct gauges *gauges, enum lists lists,
		    struct response *response)
{
	enum store_outcome outcome = store_read_begin(service->store);

	if (outcome == STORE_OK)
		outcome = store_gauges(service->store, gauges);
	bool good = service_available(service, SERVICE_READ, outcome, response) &&
		    fill(service, object, gauges, lists, response);
	store_read_end(service->store);
	return good;
}

void handle_status(struct service *service, const struct request *request,
		   struct response *response)
{
	struct gauges gauges = {0};
	cJSON *object = cJSON_CreateObject();
	char *text = NULL;

	if (!collect(service, object, &gauges, lists_asked_for(request->query), response))
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
