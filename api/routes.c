/*
 * Verbs, checks, handlers: see routes.h. State: none, a const table. Called for each request by
 * main.c. Blocks where the handler does.
 */
#include "api/routes.h"

#include "api/handlers.h"
#include "shared/contract/token.h"

#define MOUNT "/internal/"

enum { PATH_SIZE = 4096 };

struct route {
	const char *verb;
	const char *method; /* a POST has a body */
	handler *handle;
};

static const struct route routes[] = {
	{"publish", "POST", handle_publish},	   {"push", "POST", handle_publish},
	{"register", "POST", handle_register},	   {"unregister", "POST", handle_unregister},
	{"disconnect", "POST", handle_disconnect}, {"status", "GET", handle_status},
	{"metrics", "GET", handle_metrics},
};

static bool ends_in(const char *path, size_t len, const char *verb)
{
	size_t verb_len = strlen(verb);
	size_t mount_len = sizeof(MOUNT) - 1;

	return len >= mount_len + verb_len && memcmp(path + len - verb_len, verb, verb_len) == 0 &&
	       memcmp(path + len - verb_len - mount_len, MOUNT, mount_len) == 0;
}

static const struct route *find(const char *path, size_t len)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (ends_in(path, len, routes[i].verb))
			return &routes[i];
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

const char *routes_verb(const struct route *route)
{
	return route->verb;
}

static bool check_body(const struct request *request, struct response *response)
{
	switch (request->body_state) {
	case REQUEST_BODY_WHOLE:
		return true;
	case REQUEST_BODY_TOO_LARGE:
		response_error(response, 413, "body too large");
		break;
	case REQUEST_BODY_CUT_SHORT:
		response_error(response, 400, "bad request: body is shorter than announced");
		break;
	}
	return false;
}

/* While a rotation is under way there are two. */
static bool knows_secret(const struct config *config, const char *given)
{
	size_t len = strlen(given);

	return secret_equals(config->worker_secret, given, len) ||
	       secret_equals(config->worker_secret_previous, given, len);
}

static void check_and_handle(struct service *service, const struct request *request,
			     struct response *response)
{
	const struct route *route = routes_find(request);

	if (!route) {
		response_error(response, 404, "not found");
		return;
	}
	if (strcmp(request->method, route->method) != 0) {
		response_wrong_method(response, route->method);
		return;
	}
	if (!knows_secret(service->config, request->secret)) {
		response_error(response, 403, "forbidden");
		return;
	}
	if (!check_body(request, response))
		return;
	if (service->database)
		route->handle(service, request, response);
	else
		response_error(response, 503, "unavailable: no database");
}

void routes_answer(struct service *service, const struct request *request,
		   struct response *response)
{
	check_and_handle(service, request, response);
	if (response_is_error(response))
		service->counters.counts[counter_of_refusal(response_status(response))]++;
}
