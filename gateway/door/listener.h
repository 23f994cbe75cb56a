/*
 * Accepting: hands on each connection of a listening socket; when descriptors run out it pauses
 * instead of spinning.
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include <sys/socket.h>

#include "gateway/door/listen_socket.h"

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

/* Where it listens, for people: "[::]:9000", "127.0.0.1:9000", "unix:/path". */
const char *listener_address(const struct listener *listener);

#endif
