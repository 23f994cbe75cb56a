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
	return len == strlen(TOPIC_STATUS) && memcmp(topic, TOPIC_STATUS, len) == 0;
}

bool topic_percent_decode(const char *text, size_t len, char *out, size_t size, size_t *out_len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		char byte = text[i];

		if (byte == '+') {
			byte = ' ';
		} else if (byte == '%') {
			if (i + 2 >= len || !isxdigit((unsigned char)text[i + 1]) ||
			    !isxdigit((unsigned char)text[i + 2]))
				return false;
			byte = (char)strtol((char[]){text[i + 1], text[i + 2], '\0'}, NULL, 16);
			i += 2;
		}
		if (used == size)
			return false;
		out[used++] = byte;
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

		if (name.len != 5 || memcmp(name.at, "topic", 5) != 0)
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
