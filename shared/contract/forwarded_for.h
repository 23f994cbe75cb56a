/*
 * Where a client really is: the peer of the socket, or, when that peer is a proxy that the operator
 * trusts (loopback, a UNIX socket, or one of `trusted_proxies`), the last hop in X-Forwarded-For
 * that is not trusted. From anyone else the header is ignored. Pure functions.
 */
#ifndef SHARED_FORWARDED_FOR_H
#define SHARED_FORWARDED_FOR_H

#include "shared/contract/client_address.h"

/* `trusted`: addresses and CIDR blocks, comma-separated, as the configuration has checked them
 * (what does not parse is skipped). Loopback (127.0.0.0/8, ::1) is always trusted. IPv4 addresses
 * are matched by IPv4 blocks and by those within ::ffff:0:0/96, not by wider IPv6 blocks ("::/0").
 *
 * `forwarded_for`: the header's value, NULL when there is none; several headers are joined by
 * commas. An entry may have a port ("192.0.2.1:80", "[2001:db8::1]:80") as some proxies write it;
 * an empty one is skipped. What does not parse ("unknown", "unix:", "::", a zone, quotes) ends the
 * search: the last trusted hop before it counts. */
struct client_address forwarded_for_resolve(const char *trusted, struct client_address peer,
					    const char *forwarded_for, size_t len);

#endif
