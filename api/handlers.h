/*
 * The handlers of the GETs and of polls. The checks of routes.c have passed, and there is a
 * database. Each makes the answer.
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/request.h"
#include "api/response.h"
#include "api/service.h"

typedef void handler(struct service *service, const struct request *request,
		     struct response *response);

handler handle_status, handle_readyz; /* status_handler.c */
handler handle_metrics; /* metrics_handler.c */
handler handle_poll; /* poll_handler.c */

#endif
