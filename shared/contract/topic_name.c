/*
 * Topic names, see topic_name.h. No state, no allocation, never blocks. Called by the API for a
 * body's topic and by the gateway for the query of an upgrade.
 */
#include "shared/contract/topic_name.h"

#include "shared/base/hex.h"
#include "shared/base/utf8.h"

const char *topic_name_fault(const char *topic, size_t len)
{
	if (len == 0)
		return "empty";
	if (len > TOPIC_MAX_BYTES)
		return "longer than 255 bytes";
	if (!utf8_valid(topic, len))
		return "not valid UTF-8";
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)topic[i];

		if (byte < 0x20 || byte == 0x7F)
			return "control character";
	}
	return NULL;
}

bool topic_name_is_reserved(const char *topic, size_t len)
{
	return len == strlen(TOPIC_STATUS) && memcmp(topic, TOPIC_STATUS, len) == 0;
}

static char small(char c)
{
	return c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
}

bool topic_percent_decode(const char *text, size_t len, char *out, size_t size, size_t *out_len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		char byte = text[i];

		if (byte == '+') {
			byte = ' ';
		} else if (byte == '%') {
			int value =
				i + 2 < len ? hex_byte(small(text[i + 1]), small(text[i + 2])) : -1;

			if (value < 0)
				return false;
			byte = (char)value;
			i += 2;
		}
		if (used == size)
			return false;
		out[used++] = byte;
	}
	*out_len = used;
	return true;
}
