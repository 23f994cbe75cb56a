/*
 * The handlers of the POSTs: register, unregister, publish (the hot path: one pass over the body,
 * one commit, one answer) and disconnect. An unregister and a disconnect go to the gateways as
 * events too. No state. May block for busy_timeout, in the store.
 */
#include "api/command.h"
#include "api/handlers.h"
#include "shared/base/clock.h"

static bool read_command(enum command_kind kind, const struct request *request,
			 struct command *command, struct response *response)
{
	char fault[COMMAND_FAULT_SIZE];

	if (command_read(kind, request->body, request->body_len, command, fault))
		return true;
	response_error(response, 400, "%s", fault);
	return false;
}

void handle_publish(struct service *service, const struct request *request,
		    struct response *response)
{
	struct command command;
	int64_t id = 0;

	if (!read_command(COMMAND_PUBLISH, request, &command, response))
		return;
	int64_t start_us = clock_monotonic_us();
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
	response_number(response, "id", id);
}

void handle_disconnect(struct service *service, const struct request *request,
		       struct response *response)
{
	struct command command;
	int64_t sockets = 0;

	if (!read_command(COMMAND_DISCONNECT, request, &command, response))
		return;
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
	response_number(response, "sockets", sockets);
}

static void done(struct service *service, enum counter counter, struct response *response)
{
	service->counters.counts[counter]++;
	response_body(response, 200, RESPONSE_TEXT, "", 0);
}

/* worker.status is always registered, so the answer is given here. */
void handle_register(struct service *service, const struct request *request,
		     struct response *response)
{
	struct command command;

	if (!read_command(COMMAND_REGISTER, request, &command, response))
		return;
	if (topic_name_is_reserved(command.topic, command.topic_len)) {
		done(service, COUNT_REGISTERS, response);
		return;
	}
	enum store_outcome outcome = store_register(service->store, command.topic,
						    command.topic_len, command.require_token);
	if (outcome == STORE_TOO_MANY_TOPICS)
		response_error(response, 503, "unavailable: too many topics");
	else if (service_available(service, SERVICE_WRITE, outcome, response))
		done(service, COUNT_REGISTERS, response);
}

void handle_unregister(struct service *service, const struct request *request,
		       struct response *response)
{
	struct command command;

	if (!read_command(COMMAND_UNREGISTER, request, &command, response))
		return;
	if (topic_name_is_reserved(command.topic, command.topic_len)) {
		response_error(response, 400, "bad topic: " TOPIC_STATUS " is reserved");
		return;
	}
	if (!service_available(service, SERVICE_WRITE,
			       store_unregister(service->store, command.topic, command.topic_len),
			       response))
		return;
	service->tap_due = true;
	done(service, COUNT_UNREGISTERS, response);
}
