/*
 * What a single JSON value says, see json_value.h. No state, no allocation, never blocks. Called
 * with values that json_object_members pointed at: their grammar is not checked again.
 */
#include "shared/json/json_value.h"

#include "shared/base/utf8.h"

enum {
	ESCAPE_U_LEN = 6, /* \u0041 */
	HIGH_SURROGATE = 0xD800 >> 10,
	LOW_SURROGATE = 0xDC00 >> 10
};

/* The four hex digits at `at`, which the scanner has let through. */
static uint32_t hex4(const char *at)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++) {
		uint32_t c = (unsigned char)at[i];

		value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* Decodes the \u escape at *at, with its partner when it is a surrogate; returns the length, 0 for
 * a lone surrogate. */
static size_t decode_unicode(const char **at, const char *end, char out[UTF8_MAX_BYTES])
{
	uint32_t code_point = hex4(*at + 2);

	*at += ESCAPE_U_LEN;
	if (code_point >> 10 == LOW_SURROGATE)
		return 0;
	if (code_point >> 10 == HIGH_SURROGATE) {
		if (end - *at < ESCAPE_U_LEN || (*at)[0] != '\\' || (*at)[1] != 'u')
			return 0;
		uint32_t low = hex4(*at + 2);
		if (low >> 10 != LOW_SURROGATE)
			return 0;
		*at += ESCAPE_U_LEN;
		code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
	}
	return utf8_encode(code_point, out);
}

/* Decodes the escape at *at and moves past it; returns the length, 0 for a lone surrogate. */
static size_t decode_escape(const char **at, const char *end, char out[UTF8_MAX_BYTES])
{
	static const char plain[] = "bfnrt", meant[] = "\b\f\n\r\t";
	const char *letter = *at + 1;
	const char *named = strchr(plain, *letter);

	if (*letter == 'u')
		return decode_unicode(at, end, out);
	*at += 2;
	out[0] = named ? meant[named - plain] : *letter;
	return 1;
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
	if (string.kind != JSON_STRING)
		return false;

	const char *at = string.at + 1;
	const char *end = string.at + string.len - 1;
	while (at < end) {
		char decoded[UTF8_MAX_BYTES] = {*at};
		size_t len = 1;

		if (*at == '\\')
			len = decode_escape(&at, end, decoded);
		else
			at++;
		if (len == 0)
			return false;
		for (size_t i = 0; i < len; i++, plain++)
			if (*plain == '\0' || *plain != decoded[i])
				return false;
	}
	return *plain == '\0';
}

bool json_int64(struct json_value number, int64_t *out)
{
	int64_t value = 0;

	if (number.kind != JSON_NUMBER)
		return false;

	bool negative = number.at[0] == '-';
	for (size_t i = negative ? 1 : 0; i < number.len; i++) {
		char c = number.at[i];

		if (c < '0' || c > '9') /* a fraction or an exponent */
			return false;
		/* Downward: the smallest number has no positive counterpart. */
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, c - '0', &value))
			return false;
	}
	if (!negative && value == INT64_MIN)
		return false;
	*out = negative ? value : -value;
	return true;
}
