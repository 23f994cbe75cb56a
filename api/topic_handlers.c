/*
 * POST /internal/register and /internal/unregister. No state. May block for busy_timeout, in the
 * store. worker.status is registered for ever, so it is answered for here.
 */
#include "api/command.h"
#include "api/handlers.h"

static bool read_command(enum command_kind kind, const struct request *request,
			 struct command *command, struct response *response)
{
	char fault[COMMAND_FAULT_SIZE];

	if (command_read(kind, request->body, request->body_len, command, fault))
		return true;
	response_error(response, 400, "%s", fault);
	return false;
}

void handle_register(struct service *service, const struct request *request,
		     struct response *response)
{
	struct command command;

	if (!read_command(COMMAND_REGISTER, request, &command, response))
		return;
	if (topic_name_is_reserved(command.topic, command.topic_len) ||
	    service_available(service, SERVICE_WRITE,
			      store_register(service->store, command.topic, command.topic_len,
					     command.require_token),
			      response))
		response_done(response);
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
	response_done(response);
}
