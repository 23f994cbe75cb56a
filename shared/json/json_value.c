/*
 * What a single JSON value says, see json_value.h. No state, no allocation, never blocks. Called
 * with values that json_object_members pointed at: their grammar is not checked again.
 */
#include "shared/json/json_value.h"

#include <errno.h>

#include "shared/base/utf8.h"

enum {
	ESCAPE_U_LEN = 6, /* \u0041 */
	HIGH_SURROGATE = 0xD800 >> 10,
	LOW_SURROGATE = 0xDC00 >> 10
};

/* The four hex digits at `at`, which the scanner has let through. */
static uint32_t hex4(const char *at)
{
	const char digits[] = {at[0], at[1], at[2], at[3], '\0'};

	return (uint32_t)strtoul(digits, NULL, 16);
}

/* Decodes the escape at *at, with its partner when it is a surrogate, and moves past it; returns
 * the length, 0 for a lone surrogate. */
static size_t decode_escape(const char **at, const char *end, char out[UTF8_MAX_BYTES])
{
	static const char plain[] = "bfnrt", meant[] = "\b\f\n\r\t";
	const char *named = strchr(plain, (*at)[1]);
	uint32_t code_point, low = 0;

	if ((*at)[1] != 'u') {
		out[0] = named ? meant[named - plain] : (*at)[1];
		*at += 2;
		return 1;
	}
	code_point = hex4(*at + 2);
	*at += ESCAPE_U_LEN;
	if (code_point >> 10 == HIGH_SURROGATE) {
		if (end - *at >= ESCAPE_U_LEN && memcmp(*at, "\\u", 2) == 0)
			low = hex4(*at + 2);
		if (low >> 10 != LOW_SURROGATE)
			return 0;
		*at += ESCAPE_U_LEN;
		code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
	}
	return code_point >> 10 == LOW_SURROGATE ? 0 : utf8_encode(code_point, out);
}

bool json_string_decode(struct json_value string, char *out, size_t size, size_t *out_len)
{
	size_t used = 0;

	if (string.kind != JSON_STRING)
		return false;

	const char *at = string.at + 1;
	const char *end = string.at + string.len - 1;
	while (at < end) {
		char decoded[UTF8_MAX_BYTES];
		const char *from = decoded;
		size_t len;

		if (*at == '\\') {
			len = decode_escape(&at, end, decoded);
			if (len == 0)
				return false;
		} else {
			const char *stop = memchr(at, '\\', (size_t)(end - at));

			from = at;
			len = (size_t)((stop ? stop : end) - at);
			at += len;
		}
		if (len > size - used)
			return false;
		memcpy(out + used, from, len);
		used += len;
	}
	*out_len = used;
	return true;
}

bool json_string_is(struct json_value string, const char *plain)
{
	char decoded[JSON_PLAIN_MAX];
	size_t len;

	return json_string_decode(string, decoded, sizeof(decoded), &len) && len == strlen(plain) &&
	       memcmp(decoded, plain, len) == 0;
}

bool json_int64(struct json_value number, int64_t *out)
{
	char text[sizeof("-9223372036854775808")] = "", *end;
	long long value;

	if (number.kind != JSON_NUMBER || number.len >= sizeof(text))
		return false;
	memcpy(text, number.at, number.len);
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0') /* too large; a fraction or an exponent */
		return false;
	*out = value;
	return true;
}
