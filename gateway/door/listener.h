/*
 * The sockets on which the gateway listens (ws_bind and ws_port, or a UNIX socket), and accepting
 * from one of them: each connection is handed on; when descriptors run out it pauses instead of
 * spinning.
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "shared/base/held_file.h"
#include "shared/config/config.h"

/* A listening socket, non-blocking and close-on-exec, or -1 after logging why. Further sockets of
 * this user may bind the same TCP port, and the kernel spreads the connections over them
 * (SO_REUSEPORT). `is_first` says that there is none of ours yet: then anybody who listens there
 * means EADDRINUSE. */
int listen_socket_open(const struct config *config, bool is_first);

/* The path of a UNIX socket; NULL for TCP. */
const char *listen_socket_path(const struct config *config);

/* The file of a UNIX socket, and its directory, which others may delete. The zeroed struct holds
 * nothing. */
struct listen_file {
	struct held_file directory, socket;
	mode_t directory_mode;
};

/* Holds them from now on, unless it is TCP. Let go with listen_file_release, which removes the
 * socket's file unless `is_inherited`, or somebody else has put another there. */
void listen_file_take(struct listen_file *file, const struct config *config);
void listen_file_release(struct listen_file *file, bool is_inherited);

/* To be called once a second. When nobody can reach the socket any more: a new one, as
 * listen_socket_open returns it; otherwise, or when there cannot be one yet, -1. */
int listen_file_look(struct listen_file *file, const struct config *config);

struct listener;
struct upgrades;
struct uv_loop_s;

/* `fd` is a socket that listens by `config`, now owned by the listener; `loop` is borrowed. */
struct listener *listener_open(const struct config *config, int fd, struct uv_loop_s *loop);

/* Accepts from now on: each connection goes to `upgrades`, borrowed. */
void listener_start(struct listener *listener, struct upgrades *upgrades);

/* Ends a pause. Call it every 100 ms. */
void listener_on_tick(struct listener *listener);

/* Goes on with another socket, which it now owns, under the same descriptor. -1: with its own. */
void listener_replace(struct listener *listener, int fd);

/* Stops, after taking whoever is in the kernel's queue. Frees all but the uv handle, which the loop
 * must run once more to close. NULL is allowed. */
void listener_close(struct listener *listener);

/* The same for a socket that other processes have too: it goes on listening for them. */
void listener_leave(struct listener *listener);

/* Where it listens, for people: "[::]:9000", "127.0.0.1:9000", "unix:/path". */
const char *listener_address(const struct listener *listener);

#endif
