/*
 * The handlers, one function for each verb. The checks of routes.c have passed: the caller knows
 * the secret, and the body of a POST is complete. Each commits what it does and makes the answer.
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/request.h"
#include "api/response.h"
#include "api/service.h"

typedef void handler(struct service *service, const struct request *request,
		     struct response *response);

handler handle_register, handle_unregister, handle_publish,
	handle_disconnect; /* command_handlers.c */
handler handle_status; /* status_handler.c */
handler handle_metrics; /* metrics_handler.c */

#endif
