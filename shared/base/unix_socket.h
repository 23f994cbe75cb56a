/*
 * UNIX sockets: the wake-up datagrams, and programs that listen on a path. All descriptors are
 * close-on-exec and non-blocking.
 */
#ifndef SHARED_UNIX_SOCKET_H
#define SHARED_UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

/* The name of the wake-up socket in state_dir. */
#define WAKEUP_SOCKET_NAME "wakeup.sock"

/* Longest path, without the NUL, that fits a socket address. */
enum { UNIX_SOCKET_PATH_MAX = 107 };

/* A datagram socket bound to `path`, mode 0600. An existing file is replaced, because the caller
 * holds the right to serve. Returns the descriptor, or -1 with errno. */
int unix_datagram_bind(const char *path);

/* A socket of that type (SOCK_DGRAM, SOCK_STREAM) that is connected to `path`, or -1 with errno
 * (ENOENT, ECONNREFUSED: nobody is there). */
int unix_connect(const char *path, int type);

/* Sends a tap that carries a descriptor over a datagram socket. False when it has no room. */
bool unix_send_fd(int socket_fd, int fd);

/* Takes one tap, without waiting. False when there is none; *fd is the descriptor that it carries
 * (close-on-exec, the caller closes it), -1 for none. */
bool unix_receive_fd(int socket_fd, int *fd);

/* A listening stream socket with permission bits `mode`. A socket on which nobody answers is
 * replaced; a live one is EADDRINUSE, a file that is not a socket ENOTSOCK. Returns the descriptor,
 * or -1 with errno. */
int unix_stream_listen(const char *path, mode_t mode, int backlog);

#endif
