/*
 * GET /internal/status: what the service looks like at one moment, as one JSON object; and
 * GET /readyz, the same in a word. No state. Reads the database, so it never waits for writers;
 * with ?topics=1 it lists as much as there is, and with ?cluster=1 the nodes.
 */
#include <cjson/cJSON.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "api/autostart.h"
#include "api/handlers.h"
#include "shared/base/alloc.h"
#include "shared/base/slice.h"
#include "shared/base/version.h"
#include "shared/contract/duration.h"

enum { DEFAULT_TOPICS = 1000 };

/* What a query asks for. */
struct wanted {
	enum { NO_LISTS, SHORT_LIST, ALL_LISTS } lists;
	bool nodes;
};

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

/* The nodes of a cluster, and what those that are alive have together. */
struct census {
	cJSON *list;
	int64_t alive, sockets, clients, topics;
};

static void add_node(void *context, const struct cluster_node *node)
{
	struct census *census = context;
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "id", node->id);
	cJSON_AddStringToObject(object, "name", node->name);
	cJSON_AddStringToObject(object, "version", node->version);
	cJSON_AddBoolToObject(object, "alive", node->is_alive);
	cJSON_AddNumberToObject(object, "sockets", (double)node->sockets);
	cJSON_AddNumberToObject(object, "clients", (double)node->clients);
	cJSON_AddNumberToObject(object, "topics", (double)node->topics);
	cJSON_AddItemToArray(census->list, object);
	if (!node->is_alive)
		return;
	census->alive++;
	census->sockets += node->sockets;
	census->clients += node->clients;
	census->topics += node->topics;
}

static enum database_status add_nodes(struct service *service, cJSON *object,
				      const struct cluster_node *this_node)
{
	cJSON *cluster = cJSON_AddObjectToObject(object, "cluster");
	struct census census = {.list = cJSON_AddArrayToObject(cluster, "nodes")};
	enum database_status status;

	add_node(&census, this_node);
	status = cluster_reader_nodes(service->cluster, add_node, &census);
	cJSON_AddNumberToObject(cluster, "alive", (double)census.alive);
	cJSON_AddNumberToObject(cluster, "sockets", (double)census.sockets);
	cJSON_AddNumberToObject(cluster, "clients", (double)census.clients);
	cJSON_AddNumberToObject(cluster, "topics", (double)census.topics);
	return status;
}

/* How this node stands in its cluster. */
static enum database_status add_cluster(struct service *service, cJSON *object,
					const struct gauges *gauges, bool has_nodes)
{
	char since[sizeof("2026-01-01T00:00:00Z")], host[HOST_NAME_MAX + 1] = "";
	const char *name = service->config->node_name;
	struct cluster_standing standing;
	struct cluster_lag lag = {0};
	enum database_status status = cluster_reader_standing(service->cluster, &standing);
	time_t since_s = (time_t)(standing.since_ms / 1000);
	int64_t lag_s;
	const struct cluster_node this_node = {
		.id = standing.node,
		.name = *name ? name : host,
		.version = WORKER_VERSION,
		.is_alive = gauges->gateway_alive,
		.sockets = gauges->connected_sockets,
		.clients = gauges->connected_clients,
		.topics = gauges->active_topics,
	};

	gethostname(host, sizeof(host) - 1);
	if (status == DATABASE_OK)
		status = cluster_reader_lag(service->cluster, &lag);
	if (gauges->gateway_alive && standing.since_ms > 0 &&
	    strftime(since, sizeof(since), "%FT%TZ", gmtime(&since_s)) > 0)
		cJSON_AddStringToObject(object, "cluster_since", since);
	if (gauges->gateway_alive && standing.is_away)
		cJSON_AddStringToObject(object, "cluster_why", standing.why);
	cJSON_AddNumberToObject(object, "cluster_lag_events", (double)lag.events);
	lag_s = lag.ms / 1000;
	cJSON_AddNumberToObject(object, "cluster_lag_seconds", (double)lag_s);

	cJSON *node = cJSON_AddObjectToObject(object, "node");
	cJSON_AddStringToObject(node, "id", this_node.id);
	cJSON_AddStringToObject(node, "name", this_node.name);
	return status == DATABASE_OK && has_nodes ? add_nodes(service, object, &this_node) : status;
}

/* Adds the members that existing clients know, in the order they know, then ours. */
static enum database_status fill(struct service *service, cJSON *object, struct gauges *gauges,
				 struct wanted wanted)
{
	char uptime[DURATION_TEXT_SIZE], reason[AUTOSTART_TEXT_SIZE];
	enum database_status status = gauges_read(service->gauges, gauges);
	bool is_alive = gauges->gateway_alive;
	int64_t limit = !is_alive ? 0 : wanted.lists == ALL_LISTS ? -1 : DEFAULT_TOPICS;

	duration_format(gauges->uptime_s, uptime);
	cJSON_AddStringToObject(object, "status", is_alive ? "ok" : "degraded");
	cJSON_AddStringToObject(object, "version", WORKER_VERSION);
	cJSON_AddStringToObject(object, "uptime", uptime);
	cJSON_AddNumberToObject(object, "registered_topics", (double)gauges->registered_topics);
	cJSON_AddNumberToObject(object, "active_topics", (double)gauges->active_topics);
	cJSON_AddNumberToObject(object, "connected_clients", (double)gauges->connected_clients);
	cJSON_AddNumberToObject(object, "connected_sockets", (double)gauges->connected_sockets);
	if (status == DATABASE_OK && wanted.lists != NO_LISTS)
		status = add_list(service, object, "topic_list", false, limit);
	cJSON_AddNumberToObject(object, "cluster_nodes", (double)gauges->cluster_nodes);
	cJSON_AddNumberToObject(object, "dropped_pushes", (double)gauges->dropped_pushes);

	if (gauges->log_reader_pid > 0)
		cJSON_AddNumberToObject(object, "log_reader_pid", (double)gauges->log_reader_pid);
	if (!is_alive) {
		autostart_explain(service->config, reason);
		cJSON_AddStringToObject(object, "reason", reason);
	}
	if (status == DATABASE_OK && wanted.lists == ALL_LISTS)
		status = add_list(service, object, "active_topic_list", true, limit);
	if (status == DATABASE_OK && service->cluster)
		status = add_cluster(service, object, gauges, wanted.nodes);
	return status;
}

/* The last one counts, and an unknown value counts as none. */
static struct wanted read_query(const char *query)
{
	struct wanted wanted = {.lists = SHORT_LIST};
	struct slice rest = slice_of(query);

	while (rest.at) {
		struct slice parameter = slice_split(rest, '&', &rest);

		if (slice_equals(parameter, "topics=1"))
			wanted.lists = ALL_LISTS;
		else if (slice_equals(parameter, "topics=0"))
			wanted.lists = NO_LISTS;
		else if (slice_equals(parameter, "cluster=1"))
			wanted.nodes = true;
		else if (slice_equals(parameter, "cluster=0"))
			wanted.nodes = false;
	}
	return wanted;
}

void handle_status(struct service *service, const struct request *request,
		   struct response *response)
{
	struct gauges gauges = {0};
	cJSON *object = cJSON_CreateObject();
	char *text = NULL;
	enum database_status status = store_read_begin(service->store);

	if (status == DATABASE_OK)
		status = fill(service, object, &gauges, read_query(request->query));
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

/* "Not ready" is an answer, and not counted as a refusal. */
void handle_readyz(struct service *service, const struct request *request,
		   struct response *response)
{
	struct cluster_standing standing = {.is_away = false};
	char why[STANDING_WHY_SIZE + 40] = "ok\n";
	bool has_gateway = false;
	enum database_status status = store_has_gateway(service->store, &has_gateway);

	(void)request;
	if (status == DATABASE_OK && service->cluster)
		status = cluster_reader_standing(service->cluster, &standing);
	if (!has_gateway)
		snprintf(why, sizeof(why), "unavailable: no gateway is running\n");
	else if (standing.is_away)
		snprintf(why, sizeof(why), "unavailable: Redis away: %s\n", standing.why);
	if (service_available(service, SERVICE_READ, status, response))
		response_body(response, has_gateway && !standing.is_away ? 200 : 503, RESPONSE_TEXT,
			      why, strlen(why));
}
