/*
 * Strings, numbers and words of JSON, see json_lexeme.h. No state, no allocation, never blocks.
 *
 * Strings are where nearly all bytes of a body are: plain ones are skipped eight at a time, and the
 * UTF-8 of the others is checked in the same pass.
 */
#include "shared/json/json_lexeme.h"

#include "shared/base/utf8.h"

bool json_fail(struct json_cursor *cursor, const char *fault)
{
	cursor->fault = fault;
	return false;
}

bool json_fail_here(struct json_cursor *cursor)
{
	return json_fail(cursor,
			 cursor->at == cursor->end ? "unexpected end" : "unexpected character");
}

static bool is_digit_here(const struct json_cursor *cursor)
{
	return cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
}

static bool is_here(const struct json_cursor *cursor, char c)
{
	return cursor->at < cursor->end && *cursor->at == c;
}

static bool scan_digits(struct json_cursor *cursor)
{
	if (!is_digit_here(cursor))
		return json_fail_here(cursor);
	while (is_digit_here(cursor))
		cursor->at++;
	return true;
}

bool json_scan_number(struct json_cursor *cursor)
{
	if (is_here(cursor, '-'))
		cursor->at++;
	if (is_here(cursor, '0'))
		cursor->at++; /* the number's integer part ends here: a digit now is a wrong byte */
	else if (!scan_digits(cursor))
		return false;
	if (is_here(cursor, '.')) {
		cursor->at++;
		if (!scan_digits(cursor))
			return false;
	}
	if (is_here(cursor, 'e') || is_here(cursor, 'E')) {
		cursor->at++;
		if (is_here(cursor, '+') || is_here(cursor, '-'))
			cursor->at++;
		return scan_digits(cursor);
	}
	return true;
}

bool json_scan_word(struct json_cursor *cursor, const char *word)
{
	for (; *word; word++, cursor->at++)
		if (!is_here(cursor, *word))
			return json_fail_here(cursor);
	return true;
}

static bool is_hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* An escape, `at` on its backslash. A surrogate needs no partner here: see json.h. */
static bool scan_escape(struct json_cursor *cursor)
{
	cursor->at++;
	if (cursor->at == cursor->end)
		return json_fail_here(cursor);
	switch (*cursor->at) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		cursor->at++;
		return true;
	case 'u':
		cursor->at++;
		break;
	default:
		return json_fail(cursor, "bad escape in a string");
	}
	for (int i = 0; i < 4; i++, cursor->at++) {
		if (cursor->at == cursor->end)
			return json_fail_here(cursor);
		if (!is_hex_digit(*cursor->at))
			return json_fail(cursor, "bad escape in a string");
	}
	return true;
}

/* Has bit 7 of some byte set when, and only when, some byte of `word` is below `limit` (at most
 * 0x80). Which byte it is does not show: a borrow may mark those above it too. */
static uint64_t bytes_below(uint64_t word, uint64_t limit)
{
	return (word - UINT64_C(0x0101010101010101) * limit) & ~word;
}

/* True when none of the eight bytes is a quote, a backslash, a control character or not ASCII. */
static bool are_eight_plain(const char *text)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, text, sizeof(word));
	return ((word | bytes_below(word, 0x20) | bytes_below(word ^ (ones * '"'), 1) |
		 bytes_below(word ^ (ones * '\\'), 1)) &
		(ones * 0x80)) == 0;
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static void skip_plain(struct json_cursor *cursor)
{
	while (cursor->end - cursor->at >= 8 && are_eight_plain(cursor->at))
		cursor->at += 8;
	while (cursor->at < cursor->end && is_plain(*cursor->at))
		cursor->at++;
}

static bool scan_beyond_ascii(struct json_cursor *cursor)
{
	while (cursor->at < cursor->end && (unsigned char)*cursor->at >= 0x80) {
		size_t len = utf8_char_len(cursor->at, (size_t)(cursor->end - cursor->at));

		if (len == 0)
			return json_fail(cursor, "invalid UTF-8");
		cursor->at += len;
	}
	return true;
}

bool json_scan_string(struct json_cursor *cursor)
{
	bool good = true;

	cursor->at++;
	while (good) {
		skip_plain(cursor);
		if (cursor->at == cursor->end)
			return json_fail_here(cursor);
		if (*cursor->at == '"') {
			cursor->at++;
			return true;
		}
		if (*cursor->at == '\\')
			good = scan_escape(cursor);
		else if ((unsigned char)*cursor->at >= 0x80)
			good = scan_beyond_ascii(cursor);
		else
			good = json_fail(cursor, "control character in a string");
	}
	return false;
}
