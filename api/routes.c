/*
 * Verbs, checks, answers: see routes.h. State: none, a const table. Called for each request by
 * main.c. A POST may block for busy_timeout, in the store; publish is the hot path: one pass over
 * the body, one commit, one answer.
 */
#include "api/routes.h"

#include <strings.h>

#include "shared/base/clock.h"
#include "shared/base/slice.h"
#include "shared/contract/origin.h"
#include "shared/contract/token.h"

enum { PATH_SIZE = 4096 };

static const struct route routes[] = {
	{"/internal/publish", "POST", .kind = COMMAND_PUBLISH},
	{"/internal/push", "POST", .kind = COMMAND_PUBLISH},
	{"/internal/register", "POST", .kind = COMMAND_REGISTER},
	{"/internal/unregister", "POST", .kind = COMMAND_UNREGISTER},
	{"/internal/disconnect", "POST", .kind = COMMAND_DISCONNECT},
	{"/internal/status", "GET", .handle = handle_status},
	{"/internal/metrics", "GET", .handle = handle_metrics},
	{"/readyz", "GET, HEAD", .handle = handle_readyz, .is_public = true},
	{"/poll", "POST, OPTIONS", .handle = handle_poll, .is_public = true, .is_for_pages = true,
	 .body_max = MESSAGE_MAX_BYTES},
};

static const struct route *find(const char *path, size_t len)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t end = strlen(routes[i].path);

		if (len >= end && memcmp(path + len - end, routes[i].path, end) == 0)
			return &routes[i];
	}
	return NULL;
}

/* Web servers disagree about where they put which part of the path, and about whether a
 * ScriptAlias, a .fcgi file and a location are alike. The verb is at the end of one of these
 * three. */
const struct route *routes_find(const struct request *request)
{
	char path[PATH_SIZE];
	const struct route *route = NULL;
	int len = snprintf(path, sizeof(path), "%s%s", request->script_name, request->path_info);

	if (len > 0 && (size_t)len < sizeof(path))
		route = find(path, (size_t)len);
	if (!route)
		route = find(request->path_info, strlen(request->path_info));
	if (!route)
		route = find(request->uri, strcspn(request->uri, "?#"));
	return route;
}

static bool allows(const struct route *route, const char *method)
{
	struct slice rest = slice_of(route->methods);

	while (rest.at)
		if (slice_equals(slice_trim(slice_split(rest, ',', &rest)), method))
			return true;
	return false;
}

/* What a browser asks before it sends a page's request to another origin, if the body's type is not
 * one that forms have. */
#define PREFLIGHT                                                                                  \
	"Access-Control-Allow-Methods: POST\r\n"                                                   \
	"Access-Control-Allow-Headers: Content-Type\r\n"                                           \
	"Access-Control-Max-Age: 86400\r\n"

/* While a rotation is under way there are two. */
static bool is_secret(const struct config *config, const char *given)
{
	size_t len = strlen(given);

	return secret_equals(config->worker_secret, given, len) ||
	       secret_equals(config->worker_secret_previous, given, len);
}

/* What comes of each kind of command. */
static const struct {
	enum counter counter;
	const char *number; /* the answer has it by this name; NULL: the answer is empty */
	int refusal; /* the answer when it could not be done */
	const char *why;
} kinds[] = {
	[COMMAND_REGISTER] = {COUNT_REGISTERS, NULL, 503, "unavailable: too many topics"},
	[COMMAND_UNREGISTER] = {.counter = COUNT_UNREGISTERS},
	[COMMAND_PUBLISH] = {COUNT_PUBLISHES, "id", 404, "topic not registered"},
	[COMMAND_DISCONNECT] = {.counter = COUNT_DISCONNECTS, .number = "sockets"},
};

static void execute(struct service *service, const struct command *command,
		    struct response *response)
{
	struct counters *counters = &service->counters;
	struct store_result result = {0};
	int64_t start_us = clock_monotonic_us();

	/* worker.status is always registered: nothing is to be done. */
	if (command->kind != COMMAND_REGISTER ||
	    !topic_name_is_reserved(command->topic, command->topic_len)) {
		enum database_status status = store_execute(service->store, command, &result);

		if (status == DATABASE_OK && !result.done) {
			response_error(response, kinds[command->kind].refusal, "%s",
				       kinds[command->kind].why);
			return;
		}
		if (!service_available(service, SERVICE_WRITE, status, response)) {
			if (!result.done)
				return;
			/* With `durability: full`: trying again would do it twice. */
			response->is_done = true;
			response_error(response, 503,
				       "unavailable: committed, but the disk has not confirmed it");
		}
	}
	counters->counts[kinds[command->kind].counter]++;
	service->tap_due |= command->kind != COMMAND_REGISTER || service->cluster;
	if (command->kind == COMMAND_PUBLISH) {
		histogram_add(&counters->latencies[LATENCY_COMMIT],
			      clock_monotonic_us() - start_us);
		service->bytes_since += command->payload.len;
	}
	if (response->is_done)
		return;
	if (kinds[command->kind].number)
		response_number(response, kinds[command->kind].number, result.number);
	else
		response_body(response, 200, RESPONSE_TEXT, "", 0);
}

/* The checks that need no database, in the order of the contract. False: one has failed. */
static bool check(const struct config *config, const struct route *route,
		  const struct request *request, struct command *command, struct response *response)
{
	const char *method = request->method, *scheme = "Bearer ", *bearer = request->authorization;
	bool is_preflight = strcmp(method, "OPTIONS") == 0;
	char fault[COMMAND_FAULT_SIZE];

	response->allowed = route ? route->methods : NULL;
	response->lines[0] = '\0';
	response->is_done = false;
	if (route && route->is_for_pages) {
		size_t len = origin_head(config->allowed_origins,
					 *request->origin ? request->origin : NULL,
					 strlen(request->origin), response->lines);

		if (is_preflight)
			memcpy(response->lines + len, PREFLIGHT, sizeof(PREFLIGHT));
	}
	response->is_error = false;
	if (!route)
		response_error(response, 404, "not found");
	else if (!allows(route, method))
		response_error(response, 405, "method not allowed");
	else if (!route->is_public && !is_secret(config, request->secret) &&
		 !(strncasecmp(bearer, scheme, strlen(scheme)) == 0 &&
		   is_secret(config, bearer + strlen(scheme))))
		response_error(response, 403, "forbidden");
	else if (request->body_state == REQUEST_BODY_TOO_LARGE ||
		 (route->body_max && request->body_len > route->body_max))
		response_error(response, 413, "body too large");
	else if (request->body_state == REQUEST_BODY_CUT_SHORT)
		response_error(response, 400, "bad request: body is shorter than announced");
	else if (!route->handle &&
		 !command_read(route->kind, request->body, request->body_len, command, fault))
		response_error(response, 400, "%s", fault);
	return !response->is_error;
}

/* What every answer ends with. */
static void finish(const struct request *request, struct response *response)
{
	if (strcmp(request->method, "HEAD") == 0)
		response->len = response->header_len;
}

bool routes_refuse(const struct config *config, const struct request *request,
		   struct response *response)
{
	struct command command;
	bool is_refused = !check(config, routes_find(request), request, &command, response);

	if (is_refused)
		finish(request, response);
	return is_refused;
}

void routes_answer(struct service *service, const struct request *request,
		   struct response *response)
{
	const struct route *route = routes_find(request);
	struct command command = {0};

	if (check(service->config, route, request, &command, response)) {
		if (strcmp(request->method, "OPTIONS") == 0)
			response_body(response, 204, "", "", 0);
		else if (route->handle)
			route->handle(service, request, response);
		else
			execute(service, &command, response);
	}
	finish(request, response);
	if (response->is_error && !(route && route->is_for_pages))
		service->counters.counts[counter_of_refusal(response->status)]++;
}
