/*
 * Any bytes as X-Forwarded-For; what comes before a first line end is the list of trusted proxies.
 * A peer that is not trusted is believed nothing; behind one that is, what a client writes in front
 * of the header changes nothing, and what a proxy adds at its end counts.
 */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "shared/contract/forwarded_for.h"

static struct client_address address_of(const char *text)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
		return client_address_of_peer((const struct sockaddr *)(const void *)&ipv4);
	assert(inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1);
	return client_address_of_peer((const struct sockaddr *)(const void *)&ipv6);
}

static bool equal(struct client_address a, struct client_address b)
{
	return memcmp(&a, &b, sizeof(struct client_address)) == 0;
}

/* An address says itself in print and nothing but that: no byte of the header. */
static void check_print(struct client_address address)
{
	char text[CLIENT_ADDRESS_TEXT_SIZE];

	client_address_format(&address, text);
	assert(strspn(text, "0123456789abcdef:.") == strlen(text) || strcmp(text, "local") == 0);
	if (strcmp(text, "local") != 0)
		assert(equal(address_of(text), address));
}

static struct client_address resolve(const char *trusted, const char *before, const char *header,
				     size_t len, const char *behind)
{
	size_t before_len = strlen(before), behind_len = strlen(behind);
	size_t whole = before_len + len + behind_len;
	char *text = malloc(whole + !whole);

	assert(text);
	memcpy(text, before, before_len);
	memcpy(text + before_len, header, len);
	memcpy(text + before_len + len, behind, behind_len);
	struct client_address found =
		forwarded_for_resolve(trusted, address_of("127.0.0.1"), text, whole);
	free(text);
	return found;
}

static bool is_loopback(struct client_address address)
{
	char text[CLIENT_ADDRESS_TEXT_SIZE];

	client_address_format(&address, text);
	return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0;
}

/* With none but loopback trusted. */
static void check_header(const char *trusted, const char *header, size_t len)
{
	struct client_address found = resolve(trusted, "", header, len, "");
	struct client_address stranger = address_of("203.0.113.7");
	struct client_address witness = address_of("2001:db8::7");

	check_print(found);
	assert(equal(forwarded_for_resolve(trusted, stranger, header, len), stranger));
	assert(equal(resolve(trusted, "", header, len, ", [2001:db8::7]:80 ,"), witness));
	assert(equal(resolve(trusted, "", header, len, ",not an address"),
		     address_of("127.0.0.1")));
	if (!is_loopback(found))
		assert(equal(resolve(trusted, "203.0.113.7,", header, len, ""), found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *line_end = memchr(text, '\n', size);
	size_t list_len = line_end ? (size_t)(line_end - text) : 0;
	size_t header_at = line_end ? list_len + 1 : 0;
	char *list = strndup(text, list_len);

	assert(list);
	check_header("", text + header_at, size - header_at);
	check_print(resolve(list, "", text + header_at, size - header_at, ""));
	free(list);
	return 0;
}
