/*
 * POST /internal/publish, the hot path: one pass over the body, one commit, one answer; and
 * POST /internal/disconnect, whose order goes to the gateways as an event too. No state. May block
 * for busy_timeout, in the store.
 */
#include "api/command.h"
#include "api/handlers.h"
#include "shared/base/clock.h"

void handle_publish(struct service *service, const struct request *request,
		    struct response *response)
{
	struct command command;
	char fault[COMMAND_FAULT_SIZE];
	int64_t id = 0, start_us;

	if (!command_read(COMMAND_PUBLISH, request->body, request->body_len, &command, fault)) {
		response_error(response, 400, "%s", fault);
		return;
	}
	start_us = clock_monotonic_us();
	enum store_outcome outcome = store_publish(service->store, command.topic, command.topic_len,
						   command.payload.at, command.payload.len, &id);
	if (outcome == STORE_NOT_REGISTERED) {
		response_error(response, 404, "topic not registered");
		return;
	}
	if (!service_available(service, SERVICE_WRITE, outcome, response))
		return;
	histogram_add(&service->counters.latencies[LATENCY_COMMIT],
		      clock_monotonic_us() - start_us);
	service->counters.counts[COUNT_PUBLISHES]++;
	service->tap_due = true;
	service->bytes_since += command.payload.len;
	response_published(response, id);
}

void handle_disconnect(struct service *service, const struct request *request,
		       struct response *response)
{
	struct command command;
	char fault[COMMAND_FAULT_SIZE];
	char json[64];
	int64_t sockets = 0;

	if (!command_read(COMMAND_DISCONNECT, request->body, request->body_len, &command, fault)) {
		response_error(response, 400, "%s", fault);
		return;
	}
	struct store_target target = {
		.topic = command.has_topic ? command.topic : NULL,
		.topic_len = command.topic_len,
		.user_id = command.has_user ? &command.user_id : NULL,
	};
	if (!service_available(service, SERVICE_WRITE,
			       store_disconnect(service->store, &target, &sockets), response))
		return;
	service->counters.counts[COUNT_DISCONNECTS]++;
	service->tap_due = true;
	int len = snprintf(json, sizeof(json), "{\"sockets\":%lld}", (long long)sockets);
	response_json(response, 200, json, (size_t)len);
}
