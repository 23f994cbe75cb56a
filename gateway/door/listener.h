/*
 * The sockets on which the gateway listens (ws_bind and ws_port, or a UNIX socket), and accepting
 * from one of them: each connection is handed on; when descriptors run out it pauses instead of
 * spinning.
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "shared/config/config.h"

enum { LISTEN_ADDRESS_SIZE = 128 };

/* A listening socket, non-blocking and close-on-exec, or -1 with errno; `address` is where, for
 * people: "[::]:9000", "127.0.0.1:9000", "unix:/path". A TCP port may be bound again by further
 * sockets of this user, over which the kernel spreads the connections (SO_REUSEPORT); `is_first`
 * says that none of ours is there yet, and then whoever listens there is EADDRINUSE. */
int listen_socket_open(const struct config *config, bool is_first,
		       char address[LISTEN_ADDRESS_SIZE]);

/* The path of a UNIX socket; NULL for TCP. */
const char *listen_socket_path(const struct config *config);

struct listener;
struct uv_loop_s;

/* `fd` is now the callee's: non-blocking, close-on-exec, without delay. */
typedef void listener_accepted(void *context, int fd, const struct sockaddr *peer);

/* Accepts from now on. `fd` is a socket that listens by `config`, owned by the listener; `loop` is
 * borrowed. */
struct listener *listener_open(const struct config *config, int fd, struct uv_loop_s *loop,
			       listener_accepted *accepted, void *context);

/* Stops: who is in the kernel's queue is taken first, and a UNIX socket's file goes. Frees all but
 * the uv handles, which the loop must run once more to close. NULL is allowed. */
void listener_close(struct listener *listener);

/* The same when other processes have the socket too: it goes on listening for them. */
void listener_leave(struct listener *listener);

int listener_fd(const struct listener *listener);

/* Where it listens, as listen_socket_open says it. */
const char *listener_address(const struct listener *listener);

#endif
