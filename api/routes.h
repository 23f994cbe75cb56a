/*
 * From a request to its answer: the verb, the checks, what the verb does. The checks are those of
 * the contract, in its order; the first that fails answers.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/handlers.h"
#include "api/request.h"

struct route {
	const char *path; /* its end: "/internal/publish" */
	const char *methods; /* as a 405 names them */
	handler *handle; /* of a GET; NULL: a POST, whose body is a command of that kind */
	enum command_kind kind;
	bool is_public; /* no secret is asked for */
	bool is_for_pages; /* of other origins too; refusals are not counted */
	size_t body_max; /* 0: REQUEST_BODY_MAX */
};

/* The route of the verb in which the request's path ends, or NULL. */
const struct route *routes_find(const struct request *request);

/* True when one of the checks that need no database has failed, and *response says so. */
bool routes_refuse(const struct config *config, const struct request *request,
		   struct response *response);

/* Makes the answer to any request. */
void routes_answer(struct service *service, const struct request *request,
		   struct response *response);

#endif
