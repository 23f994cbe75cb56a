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

static void done(struct service *service, enum counter counter, struct response *response)
{
	service->counters.counts[counter]++;
	response_done(response);
}

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
