/*
 * The handlers of the GETs. The checks of routes.c have passed, and there is a database. Each makes
 * the answer; `query` is what the URL has after the '?'.
 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/response.h"
#include "api/service.h"

typedef void handler(struct service *service, const char *query, struct response *response);

handler handle_status, handle_readyz; /* status_handler.c */
handler handle_metrics; /* metrics_handler.c */

#endif
