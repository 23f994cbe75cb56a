/*
 * POST /poll: a browser that cannot have a connection asks what is new. No state of its own. Reads
 * the database, in one transaction, so it never waits for writers; and it writes nothing, so that
 * pages that poll cost no disk.
 */
#include "api/handlers.h"
#include "shared/base/slice.h"
#include "shared/contract/message.h"
#include "shared/contract/origin.h"
#include "shared/contract/topic_name.h"

static void answer(const struct poll *poll, struct response *response)
{
	if (!poll->is_registered) {
		response_error(response, 404, "topic not registered");
	} else if (poll->verdict != AUTH_GOOD) {
		struct auth_error error = auth_error(poll->verdict);

		response_body(response, error.status, RESPONSE_JSON, error.frame,
			      strlen(error.frame));
	} else if (poll->is_quiet) {
		response_body(response, 204, "", "", 0);
	} else {
		response_body(response, 200, RESPONSE_JSON, poll->text, poll->len);
	}
}

/* Whatever needs the database comes after whatever keeps a flood out. */
void handle_poll(struct service *service, const struct request *request, struct response *response)
{
	const char *origin = *request->origin ? request->origin : NULL;
	char topic[TOPIC_MAX_BYTES];
	size_t topic_len = 0;
	enum topic_query named = topic_of_query(slice_of(request->query), topic, &topic_len);
	struct message message;
	struct poll poll = {0};

	if (named == TOPIC_MISSING) {
		response_error(response, 400, "missing topic");
	} else if (named == TOPIC_BROKEN) {
		response_error(response, 400, "bad topic: broken percent-encoding");
	} else if (!origin_is_allowed(service->config->allowed_origins, origin,
				      strlen(request->origin))) {
		response_error(response, 403, "origin not allowed");
	} else if (!polls_allow(service->polls, request->address, request->forwarded_for)) {
		response_error(response, 429, "too many polls from this address");
	} else if (named == TOPIC_IMPOSSIBLE) {
		answer(&poll, response);
	} else {
		message_parse(request->body, request->body_len, &message);
		enum database_status status = store_read_begin(service->store);
		if (status == DATABASE_OK)
			status = polls_ask(service->polls, topic, topic_len, &message, &poll);
		store_read_end(service->store);
		if (service_available(service, SERVICE_READ, status, response))
			answer(&poll, response);
	}
	free(poll.text);
}
