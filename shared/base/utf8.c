/*
 * UTF-8, see utf8.h. No state, no allocation, never blocks. Called for topic names and, through
 * json.c, for every byte of a body that is not ASCII.
 *
 * The ranges are those of table 3-7 of the Unicode Standard: only the second byte's limits depend
 * on the first byte. They keep out overlong forms, surrogates and everything above U+10FFFF.
 */
#include "shared/base/utf8.h"

size_t utf8_char_len(const char *text, size_t len)
{
	const unsigned char *c = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xBF; /* the limits of the second byte */
	size_t count;

	if (len == 0 || c[0] < 0x80)
		return len > 0;
	if (c[0] < 0xC2 || c[0] > 0xF4) /* a continuation byte, an overlong form, too large */
		return 0;
	count = c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
	if (c[0] == 0xE0 || c[0] == 0xF0)
		low = c[0] == 0xE0 ? 0xA0 : 0x90;
	if (c[0] == 0xED || c[0] == 0xF4)
		high = c[0] == 0xED ? 0x9F : 0x8F;
	if (len < count || c[1] < low || c[1] > high)
		return 0;
	for (size_t i = 2; i < count; i++)
		if ((c[i] & 0xC0) != 0x80)
			return 0;
	return count;
}

bool utf8_valid(const char *text, size_t len)
{
	const uint64_t high_bits = UINT64_C(0x8080808080808080);

	while (len > 0) {
		uint64_t word;
		size_t step;

		if (len >= sizeof(word)) {
			memcpy(&word, text, sizeof(word));
			step = word & high_bits ? utf8_char_len(text, len) : sizeof(word);
		} else {
			step = utf8_char_len(text, len);
		}
		if (step == 0)
			return false;
		text += step;
		len -= step;
	}
	return true;
}

size_t utf8_encode(uint32_t code_point, char out[UTF8_MAX_BYTES])
{
	static const unsigned char lead_bits[] = {0, 0, 0xC0, 0xE0, 0xF0};
	size_t len = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;

	if (code_point < 0x80)
		len = 1;
	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code_point & 0x3F));
		code_point >>= 6;
	}
	out[0] = (char)(lead_bits[len] | code_point);
	return len;
}
