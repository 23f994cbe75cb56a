/*
 * For tests of where a client really is. Headers are read from memory of just their length, so that
 * the build with sanitizers finds a byte read too many. Addresses are those kept for documentation
 * (RFC 5737, RFC 3849).
 */
#ifndef TESTS_UNIT_FORWARDED_FOR_FIXTURE_H
#define TESTS_UNIT_FORWARDED_FOR_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "shared/contract/forwarded_for.h"
#include "shared/base/alloc.h"

static const struct client_address unknown; /* a UNIX socket */

static inline struct client_address peer_of(const char *text)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(1234)};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(1234)};

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
		return client_address_of_peer((const struct sockaddr *)&ipv4);
	assert_int_equal(inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1);
	return client_address_of_peer((const struct sockaddr *)&ipv6);
}

static inline void assert_address(struct client_address address, const char *expected,
				  const char *about)
{
	char text[CLIENT_ADDRESS_TEXT_SIZE];

	client_address_format(&address, text);
	if (strcmp(text, expected) != 0)
		fail_msg("%s: %s, not %s", about, text, expected);
}

static inline struct client_address resolve(const char *trusted, struct client_address peer,
					    const char *header, size_t len)
{
	char *exact = xreallocarray(NULL, len, 1);
	struct client_address client;

	memcpy(exact, header, len);
	client = forwarded_for_resolve(trusted, peer, exact, len);
	free(exact);
	return client;
}

/* Behind a proxy on loopback, with 10.0.0.0/8 and 2001:db8:f::/48 trusted too. */
static inline void assert_client(const char *header, const char *expected)
{
	assert_address(resolve("10.0.0.0/8, 2001:db8:f::/48", peer_of("127.0.0.1"), header,
			       strlen(header)),
		       expected, header);
}

#endif
