/*
 * The sending half of a connection: thin calls onto libwebsockets, so that sessions and delivery
 * need not know it, and where the transports differ on the wire. Never blocks. `struct lws` is
 * libwebsockets' connection, owned by it until transport.c hears that it has closed.
 */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lws;

/* True when all that was written before has gone to the kernel: writing now grows no buffer. */
bool peer_is_idle(struct lws *peer);

/* Its descriptor, for peer_write; asked for once, because that is read for each delivery. */
int peer_fd(struct lws *peer);

/* A hint that peer_is_idle is about to be asked about this one and others: called for a few in a
 * row, it fetches them into the cache at the same time. */
void peer_prefetch(struct lws *peer);

/* Writes whole frames, as they are on the wire. Only while peer_is_idle. Returns how many bytes the
 * kernel has taken, 0 when it takes none now, -1 when the connection is broken and must be dropped.
 * A frame that was cut must be finished before anything else is written: give its rest to peer_hold
 * or, from within session_on_writable, to peer_write the next time that is called. */
ssize_t peer_write(int fd, const char *bytes, size_t len);

struct iovec;

/* The same with several pieces. */
ssize_t peer_write_pieces(int fd, struct iovec *pieces, size_t count);

/* The rest of a frame of a WebSocket: copied, and sent when the kernel takes it. False: broken. */
bool peer_hold(struct lws *peer, const char *bytes, size_t len);

/* Reads nothing more from a WebSocket's client until called with false, so that libwebsockets
 * answers no ping in the middle of a frame. */
void peer_pause_reading(struct lws *peer, bool pause);

/* Sends a ping, to a stream a comment line; does nothing while output waits, for then it is the
 * peer's turn to read anyway. */
bool peer_ping(struct lws *peer);

/* Asks for a call of session_on_writable when the connection can take more. */
void peer_want_write(struct lws *peer);

/* How many of the bytes written the peer has not taken yet: its kernel for TCP, the peer itself for
 * a UNIX socket. For streams, whose comments nobody answers. */
int peer_unread(int fd);

/* Sends a Close frame with that code (0: none) and, for people, a reason (a few words or ""), the
 * last frame of all; ends a stream. Only while peer_is_idle. False as peer_hold. */
bool peer_close(struct lws *peer, uint16_t code, const char *reason);

/* Drops the connection without ceremony, soon after this returns. */
void peer_drop(struct lws *peer);

#endif
