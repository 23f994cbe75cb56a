/* Hexadecimal digits, see hex.h. No state, no allocation, never blocks. */
#include "shared/base/hex.h"

void hex_encode(const unsigned char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 0x0F];
	}
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_byte(char high, char low)
{
	return digit(high) < 0 || digit(low) < 0 ? -1 : digit(high) << 4 | digit(low);
}
