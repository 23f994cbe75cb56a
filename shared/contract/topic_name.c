/*
 * Topic names, see topic_name.h. No state, no allocation, never blocks. Called by the API for a
 * body's topic, and for the query of a poll, of a stream and of an upgrade.
 */
#include "shared/contract/topic_name.h"

#include <ctype.h>

#include "shared/base/utf8.h"

const char *topic_name_fault(const char *topic, size_t len)
{
	if (len == 0)
		return "empty";
	if (len > TOPIC_MAX_BYTES)
		return "longer than 255 bytes";
	if (!utf8_valid(topic, len))
		return "not valid UTF-8";
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)topic[i]))
			return "control character";
	return NULL;
}

bool topic_name_is_reserved(const char *topic, size_t len)
{
	return slice_equals((struct slice){topic, len}, TOPIC_STATUS);
}

bool topic_percent_decode(const char *text, size_t len, char *out, size_t size, size_t *out_len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		int byte = text[i] == '+' ? ' ' : (unsigned char)text[i];

		if (byte == '%') {
			byte = slice_percent((struct slice){text + i, len - i});
			i += 2;
			if (byte < 0)
				return false;
		}
		if (used == size)
			return false;
		out[used++] = (char)byte;
	}
	*out_len = used;
	return true;
}

enum topic_query topic_of_query(struct slice query, char topic[TOPIC_MAX_BYTES], size_t *topic_len)
{
	enum { ENCODED_MAX = 3 * TOPIC_MAX_BYTES }; /* each byte as %41 */
	struct slice value = {0};
	char decoded[ENCODED_MAX];

	while (query.at && !value.at) { /* the first one counts */
		struct slice name = slice_split(slice_split(query, '&', &query), '=', &value);

		if (!slice_equals(name, "topic"))
			value.at = NULL;
	}
	if (!value.at || value.len == 0)
		return TOPIC_MISSING;
	if (value.len > sizeof(decoded))
		return TOPIC_IMPOSSIBLE;
	if (!topic_percent_decode(value.at, value.len, decoded, sizeof(decoded), topic_len))
		return TOPIC_BROKEN;
	if (topic_name_fault(decoded, *topic_len))
		return TOPIC_IMPOSSIBLE;
	memcpy(topic, decoded, *topic_len);
	return TOPIC_NAMED;
}
