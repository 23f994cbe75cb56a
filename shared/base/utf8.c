/*
 * UTF-8, see utf8.h. No state, no allocation, never blocks. Called for topic names and, through
 * json.c, for every byte of a body that is not ASCII.
 *
 * The ranges are those of table 3-7 of the Unicode Standard: only the second byte's limits depend
 * on the first byte. They keep out overlong forms, surrogates and everything above U+10FFFF.
 */
#include "shared/base/utf8.h"

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xC0) == 0x80;
}

static size_t three_byte_len(const unsigned char *c)
{
	unsigned char low = c[0] == 0xE0 ? 0xA0 : 0x80;
	unsigned char high = c[0] == 0xED ? 0x9F : 0xBF;

	return c[1] >= low && c[1] <= high && is_continuation(c[2]) ? 3 : 0;
}

static size_t four_byte_len(const unsigned char *c)
{
	unsigned char low = c[0] == 0xF0 ? 0x90 : 0x80;
	unsigned char high = c[0] == 0xF4 ? 0x8F : 0xBF;

	return c[1] >= low && c[1] <= high && is_continuation(c[2]) && is_continuation(c[3]) ? 4
											     : 0;
}

size_t utf8_char_len(const char *text, size_t len)
{
	const unsigned char *c = (const unsigned char *)text;

	if (len == 0)
		return 0;
	if (c[0] < 0x80)
		return 1;
	if (c[0] < 0xC2) /* a continuation byte, or an overlong form of ASCII */
		return 0;
	if (c[0] < 0xE0)
		return len >= 2 && is_continuation(c[1]) ? 2 : 0;
	if (c[0] < 0xF0)
		return len >= 3 ? three_byte_len(c) : 0;
	if (c[0] < 0xF5)
		return len >= 4 ? four_byte_len(c) : 0;
	return 0;
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
	if (code_point < 0x80) {
		out[0] = (char)code_point;
		return 1;
	}
	if (code_point < 0x800) {
		out[0] = (char)(0xC0 | code_point >> 6);
		out[1] = (char)(0x80 | (code_point & 0x3F));
		return 2;
	}
	if (code_point < 0x10000) {
		out[0] = (char)(0xE0 | code_point >> 12);
		out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
		out[2] = (char)(0x80 | (code_point & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | code_point >> 18);
	out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
	out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
	out[3] = (char)(0x80 | (code_point & 0x3F));
	return 4;
}
