/*
 * Sockets that listen at an address of TCP, and where any socket listens, for people. All
 * descriptors are close-on-exec and non-blocking.
 */
#ifndef SHARED_TCP_SOCKET_H
#define SHARED_TCP_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/un.h>

union socket_address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
	struct sockaddr_un path;
	struct sockaddr_storage storage; /* zeroed it is longer than any path, so that has an end */
};

/* A socket bound there, -1 with errno. [::] takes IPv4 too. `is_shared`: other sockets of this user
 * may be bound to the same port. It listens unless `backlog` is 0. */
int tcp_bind(const union socket_address *address, bool is_shared, int backlog);

/* "192.0.2.1:9000", "[::]:9000", "unix:/path". */
enum { SOCKET_PLACE_SIZE = 128 };
#define SOCKET_UNIX_PREFIX "unix:"
void socket_place(const union socket_address *address, char place[SOCKET_PLACE_SIZE]);

/* The same for a socket. */
void socket_place_of(int fd, char place[SOCKET_PLACE_SIZE]);

#endif
