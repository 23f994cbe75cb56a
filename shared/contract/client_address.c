/*
 * The address of a client as a value: see client_address.h. No state, never blocks, cannot fail.
 */
#include "shared/contract/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { IPV4_AT = 12, ADDRESS_BYTES = sizeof(struct client_address) };

static const unsigned char ipv4_prefix[IPV4_AT] = {[10] = 0xff, [11] = 0xff};

static struct client_address map_ipv4(const void *ipv4)
{
	struct client_address address;

	memcpy(address.bytes, ipv4_prefix, IPV4_AT);
	memcpy(address.bytes + IPV4_AT, ipv4, sizeof(struct in_addr));
	return address;
}

static bool is_ipv4(const struct client_address *address)
{
	return memcmp(address->bytes, ipv4_prefix, IPV4_AT) == 0;
}

bool client_address_is_unknown(const struct client_address *address)
{
	static const struct client_address unknown;

	return memcmp(address, &unknown, sizeof(unknown)) == 0;
}

/* IPv4, which is mapped into ::/64, and loopback are told apart by the second half. No two clients
 * have the same key: no IPv6 address in use begins with what is the second half of a mapped IPv4.
 */
uint64_t client_address_key(const struct client_address *address)
{
	uint64_t halves[2];

	memcpy(halves, address->bytes, sizeof(halves));
	return ~(halves[0] ? halves[0] : halves[1]);
}

struct client_address client_address_of_peer(const struct sockaddr *peer)
{
	static const unsigned char nobody[sizeof(struct in_addr)];
	struct client_address address = {0};

	switch (peer->sa_family) {
	case AF_UNIX:
		return address;
	case AF_INET:
		return map_ipv4(&((const struct sockaddr_in *)(const void *)peer)->sin_addr);
	case AF_INET6:
		memcpy(address.bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
		       sizeof(address.bytes));
		return address;
	default:
		return map_ipv4(nobody);
	}
}

bool client_address_parse(const char *text, size_t len, struct client_address *out)
{
	char copy[INET6_ADDRSTRLEN];
	struct in_addr ipv4;

	if (len >= sizeof(copy) || memchr(text, '\0', len))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET, copy, &ipv4) == 1) {
		*out = map_ipv4(&ipv4);
		return true;
	}
	return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

void client_address_format(const struct client_address *address, char out[CLIENT_ADDRESS_TEXT_SIZE])
{
	if (client_address_is_unknown(address))
		snprintf(out, CLIENT_ADDRESS_TEXT_SIZE, "local");
	else if (is_ipv4(address))
		inet_ntop(AF_INET, address->bytes + IPV4_AT, out, CLIENT_ADDRESS_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, address->bytes, out, CLIENT_ADDRESS_TEXT_SIZE);
}

bool client_network_parse(struct slice text, struct client_network *out)
{
	struct slice number, address = slice_split(text, '/', &number);
	unsigned above = memchr(text.at, ':', text.len) ? 0 : 8 * IPV4_AT;
	unsigned bits = 8 * ADDRESS_BYTES - above;

	if ((number.at && !slice_number(number, bits, &bits)) ||
	    !client_address_parse(address.at, address.len, &out->address))
		return false;
	for (unsigned i = 0; i < ADDRESS_BYTES; i++) {
		unsigned left = above + bits > 8 * i ? above + bits - 8 * i : 0;

		out->mask[i] = (unsigned char)(left >= 8 ? 0xff : 0xff00 >> left);
	}
	return true;
}

bool client_network_contains(const struct client_network *network,
			     const struct client_address *address)
{
	unsigned differ = 0;

	for (size_t i = 0; i < ADDRESS_BYTES; i++)
		differ |= (network->address.bytes[i] ^ address->bytes[i]) & network->mask[i];
	/* "::/0" is all of IPv6, but does not include IPv4. */
	return differ == 0 && (network->mask[IPV4_AT - 1] == 0xff || !is_ipv4(address));
}
