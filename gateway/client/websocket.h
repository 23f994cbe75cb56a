/*
 * The WebSocket transport: libwebsockets speaks the protocol itself (RFC 6455) on connections whose
 * request the door has judged. What it hears goes up to conversation.c and session.c; what they
 * send goes down through peer.c. (A second transport would be a file beside this one: it would make
 * sessions from newcomers of its own, and peer.c would learn to write to its connections.)
 */
#ifndef GATEWAY_WEBSOCKET_H
#define GATEWAY_WEBSOCKET_H

#include <stddef.h>

#include "gateway/client/session.h"

struct clients;
struct uv_loop_s;
struct websockets;

/* Both are borrowed. NULL when libwebsockets cannot be set up: no libuv plugin, no memory. */
struct websockets *websockets_open(struct uv_loop_s *loop, struct clients *clients);

/* Call it when all sessions are gone; runs the loop until libwebsockets is gone too. NULL is
 * allowed. */
void websockets_close(struct websockets *websockets);

/* `fd` now belongs to libwebsockets; `request` is a canonical upgrade and whatever came after it.
 * Makes a session, or closes the connection. */
void websockets_adopt(struct websockets *websockets, int fd, const char *request, size_t len,
		      const struct newcomer *newcomer);

#endif
