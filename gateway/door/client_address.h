/*
 * Where a client really is: the peer of the socket, or, when that peer is a proxy that the operator
 * trusts (loopback, a UNIX socket, or one of `trusted_proxies`), the last hop in X-Forwarded-For
 * that is not trusted. From anyone else the header is ignored. Addresses are parsed and printed
 * anew, so no byte of a header reaches a log. Pure functions.
 */
#ifndef GATEWAY_CLIENT_ADDRESS_H
#define GATEWAY_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Enough for any output of client_address_format, NUL included. */
enum { CLIENT_ADDRESS_TEXT_SIZE = 48 };

/* An IPv6 address; IPv4 is mapped into it (::ffff:a.b.c.d). All zero: unknown (a UNIX socket
 * without a header). */
struct client_address {
	unsigned char bytes[16];
};

struct trusted_proxies;

/* `list`: addresses and CIDR blocks, comma-separated, as the configuration has checked them (what
 * does not parse is skipped). Loopback (127.0.0.0/8, ::1) is always trusted. IPv4 is meant by IPv4
 * blocks and by those within ::ffff:0:0/96, not by wider ones of IPv6 ("::/0"). Free with
 * trusted_proxies_free, which allows NULL. */
struct trusted_proxies *trusted_proxies_new(const char *list);
void trusted_proxies_free(struct trusted_proxies *trusted);

/* The address of an accepted socket's peer; all zero for AF_UNIX. For a family that is none of ours
 * 0.0.0.0, which nobody trusts. */
struct client_address client_address_of_peer(const struct sockaddr *peer);

/* `forwarded_for`: the header's value, NULL when there is none; several headers are joined by
 * commas. An entry may have a port ("192.0.2.1:80", "[2001:db8::1]:80") as some proxies write it;
 * an empty one is skipped. What does not parse ("unknown", "unix:", "::", a zone, quotes) ends the
 * search: the last trusted hop before it counts. */
struct client_address client_address_resolve(const struct trusted_proxies *trusted,
					     struct client_address peer, const char *forwarded_for,
					     size_t len);

bool client_address_equal(const struct client_address *a, const struct client_address *b);

/* "192.0.2.1", "2001:db8::1", or "local" for an unknown one. */
void client_address_format(const struct client_address *address,
			   char out[CLIENT_ADDRESS_TEXT_SIZE]);

#endif
