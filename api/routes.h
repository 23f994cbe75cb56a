/*
 * From a request to its answer: the verb, the checks, the verb's handler. The checks are those of
 * the contract, in its order; the first that fails answers.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/request.h"
#include "api/response.h"
#include "api/service.h"

struct route;

/* The route of the verb in which the request's path ends, or NULL. */
const struct route *routes_find(const struct request *request);

/* "publish"; an alias gives its own name. */
const char *routes_verb(const struct route *route);

/* Makes the answer to any request. */
void routes_answer(struct service *service, const struct request *request,
		   struct response *response);

#endif
