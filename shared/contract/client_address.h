/*
 * The address of a client, as a value: from a socket's peer or from text, compared, printed. It is
 * printed anew, never as it was written, so that no byte of a header reaches a log.
 * forwarded_for.h finds out who the client behind a proxy is. Pure functions.
 */
#ifndef SHARED_CLIENT_ADDRESS_H
#define SHARED_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "shared/base/slice.h"

/* Any output of client_address_format, NUL included. */
enum { CLIENT_ADDRESS_TEXT_SIZE = 48 };

/* An IPv6 address; IPv4 is mapped into it (::ffff:a.b.c.d). All zero: unknown (a UNIX socket
 * without a header). */
struct client_address {
	unsigned char bytes[16];
};

/* The address of an accepted socket's peer; all zero for AF_UNIX. For any other family it is
 * 0.0.0.0, which nobody trusts. */
struct client_address client_address_of_peer(const struct sockaddr *peer);

/* A bare address: IPv4, IPv6, or IPv4 mapped into IPv6; no port, no zone. False for anything else.
 */
bool client_address_parse(const char *text, size_t len, struct client_address *out);

bool client_address_is_unknown(const struct client_address *address);

/* What a limit for each address tells clients apart by: of IPv6 the first half, for whoever has one
 * such address has all of them (RFC 6177). Never 0. */
uint64_t client_address_key(const struct client_address *address);

/* "192.0.2.1", "2001:db8::1", or "local" for an unknown one. */
void client_address_format(const struct client_address *address,
			   char out[CLIENT_ADDRESS_TEXT_SIZE]);

/* A network; the bits of `address` that are set in `mask` are those that matter. */
struct client_network {
	struct client_address address;
	unsigned char mask[16];
};

/* An address, or a CIDR block ("192.0.2.0/24"). False for anything else. */
bool client_network_parse(struct slice text, struct client_network *out);

/* IPv4 addresses are matched by IPv4 networks and by those within ::ffff:0:0/96, not by wider IPv6
 * ones ("::/0"). */
bool client_network_contains(const struct client_network *network,
			     const struct client_address *address);

#endif
