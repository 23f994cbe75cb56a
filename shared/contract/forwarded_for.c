/*
 * Where a client really is, see forwarded_for.h. No state, no allocation; never blocks. Called for
 * each connection of the gateway and each poll, with a header that anyone may have written: it is
 * read from its end, and no further than it is believed.
 */
#include "shared/contract/forwarded_for.h"

enum { MAX_PORT = 65535 };

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

static bool is_trusted(const char *trusted, const struct client_address *address)
{
	const char *const lists[] = {"127.0.0.0/8,::1", trusted};
	struct client_network network;
	struct slice part;

	for (int i = 0; i < 2; i++)
		for (struct slice rest = slice_of(lists[i]); take_last(&rest, &part);)
			if (client_network_parse(part, &network) &&
			    client_network_contains(&network, address))
				return true;
	return false;
}

/* Takes the brackets and the port off one entry; false when they are not well-formed. */
static bool strip_port(struct slice *entry)
{
	struct slice port;
	unsigned number;

	if (entry->at[0] == '[') {
		*entry = slice_split((struct slice){entry->at + 1, entry->len - 1}, ']', &port);
		if (!port.at || !memchr(entry->at, ':', entry->len))
			return false;
		if (port.len == 0)
			return true;
		if (port.at[0] != ':')
			return false;
		port = (struct slice){port.at + 1, port.len - 1};
	} else {
		struct slice host = slice_split(*entry, ':', &port);

		if (!port.at || memchr(port.at, ':', port.len))
			return true; /* none, or IPv6 without brackets, which has no port */
		*entry = host;
	}
	return slice_number(port, MAX_PORT, &number);
}

struct client_address forwarded_for_resolve(const char *trusted, struct client_address peer,
					    const char *forwarded_for, size_t len)
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
