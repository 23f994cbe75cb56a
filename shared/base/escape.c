/*
 * Escaping, see escape.h. No state, no allocation, never blocks. Called for every text in the log,
 * for the values of the configuration (which must be plain) and when they are printed.
 */
#include "shared/base/escape.h"

#include <stdint.h>

#include "shared/base/utf8.h"

/* The length of the first character if it may be shown as it is, else 0. */
static size_t plain_len(const char *text, size_t len)
{
	static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
	static const struct {
		uint32_t first, last;
	} harmful[] = {
		{0x00, 0x1F},	  {0x7F, 0x9F}, /* C0, DEL, C1 */
		{0x2028, 0x2029}, /* line and paragraph separator */
		{0x061C, 0x061C}, {0x200E, 0x200F}, /* direction marks */
		{0x202A, 0x202E}, {0x2066, 0x2069}, /* and overrides */
	};
	size_t step = utf8_char_len(text, len);
	uint32_t c = (unsigned char)text[0] & lead_bits[step];

	for (size_t i = 1; i < step; i++)
		c = c << 6 | ((unsigned char)text[i] & 0x3F);
	for (size_t i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++)
		if (c >= harmful[i].first && c <= harmful[i].last)
			return 0;
	return step;
}

size_t escape_next(const char *text, size_t len, char out[ESCAPE_MAX_BYTES], size_t *out_len)
{
	size_t step = plain_len(text, len);

	*out_len = 0;
	if (step > 0) {
		if (*text == '"' || *text == '\\')
			out[(*out_len)++] = '\\';
		memcpy(out + *out_len, text, step);
		*out_len += step;
		return step;
	}
	step = utf8_char_len(text, len);
	step += step == 0; /* a byte that belongs to no character */
	for (size_t i = 0; i < step; i++)
		*out_len += (size_t)snprintf(out + *out_len, sizeof("\\xNN"), "\\x%02x",
					     (unsigned char)text[i]);
	return step;
}

bool escape_is_plain(const char *text, size_t len)
{
	size_t at = 0, step = 1;

	for (; at < len && step > 0; at += step)
		step = plain_len(text + at, len - at);
	return at == len;
}
