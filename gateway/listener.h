/*
 * The listening sockets: ws_bind and ws_port, or a UNIX socket. Hands on each accepted connection;
 * when descriptors run out it pauses instead of spinning.
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include <sys/socket.h>

#include "shared/config.h"

struct listener;
struct uv_loop_s;

enum { LISTENER_ADDRESS_SIZE = 128, LISTENER_WHY_SIZE = 256 };

/* `fd` is now the callee's: non-blocking, close-on-exec, without delay. */
typedef void listener_accepted(void *context, int fd, const struct sockaddr *peer);

/* Starts to listen, or goes on with the socket that was inherited (-1: none), which is then owned
 * by the listener. NULL with the reason in `why`. `loop` is borrowed. */
struct listener *listener_open(const struct config *config, int inherited_fd,
			       struct uv_loop_s *loop, listener_accepted *accepted, void *context,
			       char why[LISTENER_WHY_SIZE]);

/* Stops accepting: who is in the kernel's queue is taken first, and a UNIX socket's file goes.
 * Frees all but the uv handles, which the loop must run once more to close. NULL is allowed. */
void listener_close(struct listener *listener);

/* The same when a successor has the socket: its queue and its file are left alone. */
void listener_hand_over(struct listener *listener);

int listener_fd(const struct listener *listener);

/* Where it listens, for people: "[::]:9000", "127.0.0.1:9000", "unix:/path". */
const char *listener_address(const struct listener *listener);

#endif
