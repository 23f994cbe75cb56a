/*
 * POST /internal/publish, the hot path: one pass over the body, one commit, one answer. No state.
 * May block for busy_timeout, in the store.
 */
#include "api/command.h"
#include "api/handlers.h"

void handle_publish(struct service *service, const struct request *request,
		    struct response *response)
{
	struct command command;
	char fault[COMMAND_FAULT_SIZE];
	int64_t id = 0;

	if (!command_read(COMMAND_PUBLISH, request->body, request->body_len, &command, fault)) {
		response_error(response, 400, "%s", fault);
		return;
	}
	enum store_outcome outcome = store_publish(service->store, command.topic, command.topic_len,
						   command.payload.at, command.payload.len, &id);
	if (outcome == STORE_NOT_REGISTERED) {
		response_error(response, 404, "topic not registered");
		return;
	}
	if (!service_available(service, SERVICE_WRITE, outcome, response))
		return;
	service->tap_due = true;
	service->bytes_since += command.payload.len;
	response_published(response, id);
}
