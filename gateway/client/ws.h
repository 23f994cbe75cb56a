/*
 * libwebsockets: the WebSocket protocol itself (RFC 6455) on connections whose request has passed
 * upgrade.c. The only place that is called by it.
 */
#ifndef GATEWAY_WS_H
#define GATEWAY_WS_H

#include <stddef.h>

#include "gateway/presence/client_address.h"

struct gateway;
struct ws;

/* Whom ws_adopt brings. */
struct ws_newcomer {
	const char *topic; /* borrowed for the call */
	size_t topic_len;
	struct client_address address;
};

/* On gateway->loop. NULL when libwebsockets cannot be set up: no libuv plugin, no memory. */
struct ws *ws_open(struct gateway *gateway);

/* Runs the loop until libwebsockets is gone: the last user of the loop to be closed, after all
 * sessions are. NULL is allowed. */
void ws_close(struct ws *ws);

/* `fd` is now libwebsockets'; `request` is a canonical upgrade and what came behind it. Makes a
 * session, or closes the connection. */
void ws_adopt(struct ws *ws, int fd, const char *request, size_t len,
	      const struct ws_newcomer *newcomer);

#endif
