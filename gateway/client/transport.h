/*
 * The transports: libwebsockets serves the connections whose request the door has let in. With a
 * WebSocket it speaks the protocol itself (RFC 6455); a stream is a bare socket to it, and HTTP is
 * stream.c's business. What it hears goes up to conversation.c and session.c; what they send goes
 * down through peer.c.
 */
#ifndef GATEWAY_TRANSPORT_H
#define GATEWAY_TRANSPORT_H

#include <stddef.h>

#include "gateway/client/session.h"

struct clients;
struct uv_loop_s;
struct transports;

/* Both are borrowed. NULL when libwebsockets cannot be set up: no libuv plugin, no memory. */
struct transports *transports_open(struct uv_loop_s *loop, struct clients *clients);

/* Call it when all sessions are gone; runs the loop until libwebsockets is gone too. NULL is
 * allowed. */
void transports_close(struct transports *transports);

/* `fd` now belongs to libwebsockets. `bytes`: for a WebSocket a canonical upgrade and whatever came
 * after it; for a stream what has come of the body, which is changed. Makes a session, or closes
 * the connection. */
void transports_adopt(struct transports *transports, int fd, char *bytes, size_t len,
		      const struct newcomer *newcomer);

#endif
