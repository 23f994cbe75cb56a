/*
 * The sending half of a WebSocket: thin calls onto libwebsockets, so that sessions and fan-out need
 * not know it. Never blocks. `struct lws` is libwebsockets' connection, owned by it until ws.c
 * hears that it has closed.
 */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/events/frame.h"

struct lws;

/* True when all that was written before has gone to the kernel: writing now grows no buffer. */
bool peer_is_idle(struct lws *peer);

/* A hint that peer_is_idle is about to be asked. */
void peer_prefetch(const struct lws *peer);

/* Writes one text frame. Only while peer_is_idle. False: the connection is broken and must be
 * dropped. */
bool peer_send(struct lws *peer, int fd, struct frame *frame);

/* Its descriptor, for peer_send; asked for once, because that is read for each delivery. */
int peer_fd(struct lws *peer);

/* Sends a ping; does nothing while output waits, for then the peer owes us reading already. */
bool peer_ping(struct lws *peer);

/* Asks to be called back (session_on_writable) when the connection can take more. */
void peer_want_write(struct lws *peer);

/* Sends a Close frame with that code (0: none) and, for people, a reason (a few words or ""), the
 * last frame of all. Only while peer_is_idle. False as peer_send. */
bool peer_close(struct lws *peer, uint16_t code, const char *reason);

/* Drops the connection without ceremony, soon after this returns. */
void peer_drop(struct lws *peer);

#endif
