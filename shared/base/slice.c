/* Slices, see slice.h. No state, no allocation, never blocks. */
#include "shared/base/slice.h"

#include <ctype.h>

static int is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct slice slice_of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

bool slice_equals(struct slice text, const char *plain)
{
	return text.len == strlen(plain) && memcmp(text.at, plain, text.len) == 0;
}

struct slice slice_trim(struct slice text)
{
	while (text.len > 0 && is_blank(text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

struct slice slice_split(struct slice text, char separator, struct slice *rest)
{
	const char *at = text.len > 0 ? memchr(text.at, separator, text.len) : NULL;
	struct slice first = text;

	*rest = (struct slice){0};
	if (at) {
		first.len = (size_t)(at - text.at);
		*rest = (struct slice){at + 1, text.len - first.len - 1};
	}
	return first;
}

bool slice_number(struct slice text, unsigned max, unsigned *out)
{
	unsigned value = 0;

	if (text.len == 0 || text.len > SLICE_NUMBER_DIGITS || (text.len > 1 && text.at[0] == '0'))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text.at[i] - '0');
	}
	*out = value;
	return value <= max;
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int slice_percent(struct slice text)
{
	int high = text.len > 2 ? hex_digit((char)tolower((unsigned char)text.at[1])) : -1;
	int low = text.len > 2 ? hex_digit((char)tolower((unsigned char)text.at[2])) : -1;

	return high < 0 || low < 0 ? -1 : high * 16 + low;
}
