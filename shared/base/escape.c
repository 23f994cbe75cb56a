/*
 * Escaping, see escape.h. No state, no allocation, never blocks. Called for every text in the log,
 * for the values of the configuration (which must be plain) and when they are printed.
 */
#include "shared/base/escape.h"

#include <stdint.h>

#include "shared/base/hex.h"
#include "shared/base/utf8.h"

/* The code point of a well-formed character. */
static uint32_t decode(const char *text, size_t len)
{
	static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
	uint32_t code_point = (unsigned char)text[0] & lead_bits[len];

	for (size_t i = 1; i < len; i++)
		code_point = code_point << 6 | ((unsigned char)text[i] & 0x3F);
	return code_point;
}

static bool is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c <= 0x9F) || /* C0, DEL, C1 */
	       c == 0x2028 || c == 0x2029 || /* line and paragraph separator */
	       c == 0x061C || c == 0x200E || c == 0x200F || /* direction marks */
	       (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069); /* and overrides */
}

/* The length of the first character if it may be shown as it is, else 0. */
static size_t plain_len(const char *text, size_t len)
{
	size_t step = utf8_char_len(text, len);

	return step > 0 && !is_harmful(decode(text, step)) ? step : 0;
}

/* Each byte as \xNN. */
static size_t as_hex(const char *bytes, size_t count, char out[ESCAPE_MAX_BYTES])
{
	for (size_t i = 0; i < count; i++) {
		memcpy(out + 4 * i, "\\x", 2);
		hex_encode((const unsigned char *)bytes + i, 1, out + 4 * i + 2);
	}
	return 4 * count;
}

size_t escape_next(const char *text, size_t len, char out[ESCAPE_MAX_BYTES], size_t *out_len)
{
	size_t step = plain_len(text, len);

	if (step == 0) {
		step = utf8_char_len(text, len);
		if (step == 0)
			step = 1;
		*out_len = as_hex(text, step, out);
	} else if (*text == '"' || *text == '\\') {
		out[0] = '\\';
		out[1] = *text;
		*out_len = 2;
	} else {
		memcpy(out, text, step);
		*out_len = step;
	}
	return step;
}

bool escape_is_plain(const char *text, size_t len)
{
	while (len > 0) {
		size_t step = plain_len(text, len);

		if (step == 0)
			return false;
		text += step;
		len -= step;
	}
	return true;
}
