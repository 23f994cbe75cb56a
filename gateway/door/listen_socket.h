/*
 * The sockets on which the gateway listens: ws_bind and ws_port, or a UNIX socket.
 */
#ifndef GATEWAY_LISTEN_SOCKET_H
#define GATEWAY_LISTEN_SOCKET_H

#include <stdbool.h>

#include "shared/config/config.h"

enum { LISTEN_ADDRESS_SIZE = 128 };

/* A listening socket, non-blocking and close-on-exec, or -1 with errno; `address` is where, for
 * people: "[::]:9000", "127.0.0.1:9000", "unix:/path". With `is_shared` the port may be bound again
 * by other sockets of this user, and the kernel spreads the connections over them (SO_REUSEPORT).
 */
int listen_socket_open(const struct config *config, bool is_shared,
		       char address[LISTEN_ADDRESS_SIZE]);

/* The address of one that somebody else has opened by the same configuration. */
void listen_socket_describe(const struct config *config, int fd, char address[LISTEN_ADDRESS_SIZE]);

/* The most that wait to be accepted; the kernel cuts it to net.core.somaxconn. */
enum { LISTEN_BACKLOG = 4096 };

/* The path of a UNIX socket; NULL for TCP. */
const char *listen_socket_path(const struct config *config);

#endif
