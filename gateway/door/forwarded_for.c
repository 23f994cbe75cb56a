/*
 * Where a client really is, see forwarded_for.h. State: the list of trusted networks, which does
 * not change. Called once for each connection, with a header that anyone may have written; never
 * blocks. What does not parse is never believed.
 */
#include "gateway/door/forwarded_for.h"

#include "shared/base/alloc.h"
#include "shared/base/slice.h"

enum { MAX_PORT = 65535 };

struct trusted_proxies {
	size_t count;
	struct client_network networks[];
};

/* Takes the part after the last comma off `list`; false when nothing is left. */
static bool take_last(struct slice *list, struct slice *part)
{
	const char *comma;

	if (!list->at)
		return false;
	comma = memrchr(list->at, ',', list->len);
	part->at = comma ? comma + 1 : list->at;
	part->len = list->len - (size_t)(part->at - list->at);
	*part = slice_trim(*part);
	list->len = comma ? (size_t)(comma - list->at) : 0;
	if (!comma)
		list->at = NULL;
	return true;
}

static void add_networks(struct trusted_proxies *trusted, const char *list)
{
	struct slice rest = {list, strlen(list)};
	struct slice part;

	while (take_last(&rest, &part))
		if (client_network_parse(part, &trusted->networks[trusted->count]))
			trusted->count++;
}

struct trusted_proxies *trusted_proxies_new(const char *list)
{
	static const char loopback[] = "127.0.0.0/8,::1";
	size_t room = 2 + 1; /* loopback, and one more than there are commas */
	struct trusted_proxies *trusted;

	for (const char *at = list; *at; at++)
		room += *at == ',';
	trusted = xcalloc(1, sizeof(*trusted) + room * sizeof(struct client_network));
	add_networks(trusted, loopback);
	add_networks(trusted, list);
	return trusted;
}

void trusted_proxies_free(struct trusted_proxies *trusted)
{
	free(trusted);
}

static bool is_trusted(const struct trusted_proxies *trusted, const struct client_address *address)
{
	for (size_t i = 0; i < trusted->count; i++)
		if (client_network_contains(&trusted->networks[i], address))
			return true;
	return false;
}

/* Takes the brackets and the port off one entry; false when they are not well-formed. */
static bool strip_port(struct slice *entry)
{
	const char *end = entry->at + entry->len;
	const char *colon = NULL;
	struct slice port = {0};
	unsigned number;

	if (entry->at[0] == '[') {
		const char *bracket = memchr(entry->at, ']', entry->len);

		if (!bracket || !memchr(entry->at, ':', (size_t)(bracket - entry->at)))
			return false;
		entry->at++;
		entry->len = (size_t)(bracket - entry->at);
		if (bracket + 1 == end)
			return true;
		colon = bracket + 1;
		if (*colon != ':')
			return false;
	} else {
		colon = memchr(entry->at, ':', entry->len);
		if (!colon || colon != memrchr(entry->at, ':', entry->len))
			return true; /* none, or IPv6 without brackets, which has no port */
		entry->len = (size_t)(colon - entry->at);
	}
	port.at = colon + 1;
	port.len = (size_t)(end - port.at);
	return slice_number(port, MAX_PORT, &number);
}

struct client_address forwarded_for_resolve(const struct trusted_proxies *trusted,
					    struct client_address peer, const char *forwarded_for,
					    size_t len)
{
	struct slice rest = {forwarded_for, len};
	struct slice entry;
	struct client_address client = peer;

	if (!client_address_is_unknown(&peer) && !is_trusted(trusted, &peer))
		return peer;
	while (take_last(&rest, &entry)) {
		struct client_address hop;

		if (entry.len == 0) /* RFC 9110, section 5.6.1: no entry */
			continue;
		if (!strip_port(&entry) || !client_address_parse(entry.at, entry.len, &hop) ||
		    client_address_is_unknown(&hop))
			break;
		client = hop;
		if (!is_trusted(trusted, &hop))
			break;
	}
	return client;
}
