/*
 * Who may come in: a request is judged by the contract, by the limits and by its origin; one that
 * may become a WebSocket is handed to libwebsockets (ws_adopt). Also makes room when too many have
 * not authenticated yet. Never blocks.
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "gateway/presence/client_address.h"
#include "gateway/door/handshake.h"

struct gateway;

/* NULL: `fd` belongs to libwebsockets now. Otherwise the refusal that the client is to get. `bytes`
 * hold the head of the request, into which `handshake` points, and whatever came after it: `len` in
 * all. */
const struct refusal *admission_judge(struct gateway *gateway, int fd, struct client_address peer,
				      const struct handshake *handshake, const char *bytes,
				      size_t len);

/* Closes those in gateway->pending that are too many. Not to be called from a callback of one of
 * them. */
void admission_make_room(struct gateway *gateway);

#endif
