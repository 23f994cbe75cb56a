/*
 * Strict JSON in one pass, see json.h; single values are decoded in json_value.c. No state, no
 * allocation, no recursion, never blocks. Called for every body and every client frame: the hot
 * path of a publish.
 *
 * A loop over tokens, with the position in the grammar in `expect` and one bit for each open
 * bracket. It stops at the first wrong byte: everything before it could have become a good text.
 *
 * Nearly all bytes of a body are in strings: plain ones are skipped eight at a time, and the UTF-8
 * of the others is checked in the same pass.
 */
#include "shared/json/json.h"

#include <ctype.h>

#include "shared/base/utf8.h"

struct cursor {
	const char *at;
	const char *end;
	const char *fault; /* a constant sentence, NULL while all is well */
};

/* The lexemes. Each function begins with `at` on a lexeme's first byte and leaves it after the
 * last. On failure it returns false, with `at` on the first wrong byte (or on `end`, when the text
 * ends too early) and the reason in `fault`. */

static bool fail(struct cursor *cursor, const char *fault)
{
	cursor->fault = fault;
	return false;
}

static bool fail_here(struct cursor *cursor)
{
	return fail(cursor, cursor->at == cursor->end ? "unexpected end" : "unexpected character");
}

static bool is_digit_here(const struct cursor *cursor)
{
	return cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9';
}

static bool skip_one_of(struct cursor *cursor, const char *wanted)
{
	if (cursor->at == cursor->end || *cursor->at == '\0' || !strchr(wanted, *cursor->at))
		return false;
	cursor->at++;
	return true;
}

static bool scan_digits(struct cursor *cursor)
{
	if (!is_digit_here(cursor))
		return fail_here(cursor);
	while (is_digit_here(cursor))
		cursor->at++;
	return true;
}

static bool scan_number(struct cursor *cursor)
{
	skip_one_of(cursor, "-");
	/* After a 0 the integer part ends: a digit now is a wrong byte. */
	if (!skip_one_of(cursor, "0") && !scan_digits(cursor))
		return false;
	if (skip_one_of(cursor, ".") && !scan_digits(cursor))
		return false;
	if (!skip_one_of(cursor, "eE"))
		return true;
	skip_one_of(cursor, "+-");
	return scan_digits(cursor);
}

static bool scan_word(struct cursor *cursor, const char *word)
{
	for (; *word; word++, cursor->at++)
		if (cursor->at == cursor->end || *cursor->at != *word)
			return fail_here(cursor);
	return true;
}

/* An escape, `at` on its backslash. A surrogate needs no partner here: see json.h. */
static bool scan_escape(struct cursor *cursor)
{
	cursor->at++;
	if (cursor->at == cursor->end)
		return fail_here(cursor);
	if (memchr("\"\\/bfnrt", *cursor->at, 8)) {
		cursor->at++;
		return true;
	}
	if (*cursor->at != 'u')
		return fail(cursor, "bad escape in a string");
	cursor->at++;
	for (int i = 0; i < 4; i++, cursor->at++) {
		if (cursor->at == cursor->end)
			return fail_here(cursor);
		if (!isxdigit((unsigned char)*cursor->at))
			return fail(cursor, "bad escape in a string");
	}
	return true;
}

/* Has bit 7 of some byte set when, and only when, some byte of `word` is below `limit` (at most
 * 0x80). It does not tell which byte: a borrow may mark those above it too. */
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

static void skip_plain(struct cursor *cursor)
{
	while (cursor->end - cursor->at >= 8 && are_eight_plain(cursor->at))
		cursor->at += 8;
	while (cursor->at < cursor->end && is_plain(*cursor->at))
		cursor->at++;
}

static bool scan_beyond_ascii(struct cursor *cursor)
{
	while (cursor->at < cursor->end && (unsigned char)*cursor->at >= 0x80) {
		size_t len = utf8_char_len(cursor->at, (size_t)(cursor->end - cursor->at));

		if (len == 0)
			return fail(cursor, "invalid UTF-8");
		cursor->at += len;
	}
	return true;
}

static bool scan_string(struct cursor *cursor)
{
	bool good = true;

	cursor->at++;
	while (good) {
		skip_plain(cursor);
		if (cursor->at == cursor->end)
			return fail_here(cursor);
		if (*cursor->at == '"') {
			cursor->at++;
			return true;
		}
		if (*cursor->at == '\\')
			good = scan_escape(cursor);
		else if ((unsigned char)*cursor->at >= 0x80)
			good = scan_beyond_ascii(cursor);
		else
			good = fail(cursor, "control character in a string");
	}
	return false;
}

/* The grammar. */

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* right behind '[' */
	EXPECT_NAME,
	EXPECT_NAME_OR_END, /* right behind '{' */
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING /* the outermost value is complete */
};

struct scan {
	struct cursor cursor;
	enum expect expect;
	size_t depth;
	char brackets[JSON_MAX_DEPTH]; /* what closes each of the open ones */

	struct json_member *members;
	size_t member_count;
	struct json_member *wanted; /* the top-level member whose value is being read, or NULL */
	struct json_value value; /* that value, its length not yet known */
};

static void skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n' ||
					    *cursor->at == '\r' || *cursor->at == '\t'))
		cursor->at++;
}

static bool in_object(const struct scan *scan)
{
	return scan->brackets[scan->depth - 1] == '}';
}

static bool open_bracket(struct scan *scan, bool is_object)
{
	_Static_assert(JSON_MAX_DEPTH == 1024, "the sentence below names the limit");
	if (scan->depth == JSON_MAX_DEPTH)
		return fail(&scan->cursor, "nested too deep (more than 1024 levels)");
	scan->brackets[scan->depth++] = is_object ? '}' : ']';
	scan->cursor.at++;
	scan->expect = is_object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
	return true;
}

/* The cursor is after a complete value. */
static void end_value(struct scan *scan)
{
	scan->expect = scan->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
	if (scan->depth == 1 && scan->wanted) {
		scan->value.len = (size_t)(scan->cursor.at - scan->value.at);
		scan->wanted->value = scan->value;
		scan->wanted = NULL;
	}
}

static bool close_bracket(struct scan *scan)
{
	if (*scan->cursor.at != scan->brackets[scan->depth - 1])
		return fail_here(&scan->cursor);
	scan->cursor.at++;
	scan->depth--;
	end_value(scan);
	return true;
}

static bool scan_value(struct scan *scan)
{
	struct cursor *cursor = &scan->cursor;
	struct json_value value = {.at = cursor->at};
	bool good;

	switch (*cursor->at) {
	case '{':
	case '[':
		value.kind = *cursor->at == '{' ? JSON_OBJECT : JSON_ARRAY;
		if (scan->depth == 1)
			scan->value = value;
		return open_bracket(scan, value.kind == JSON_OBJECT);
	case '"':
		value.kind = JSON_STRING;
		good = scan_string(cursor);
		break;
	case 't':
		value.kind = JSON_TRUE;
		good = scan_word(cursor, "true");
		break;
	case 'f':
		value.kind = JSON_FALSE;
		good = scan_word(cursor, "false");
		break;
	case 'n':
		value.kind = JSON_NULL;
		good = scan_word(cursor, "null");
		break;
	default:
		value.kind = JSON_NUMBER; /* or nothing that is allowed here */
		good = scan_number(cursor);
	}
	if (scan->depth == 1)
		scan->value = value;
	if (good)
		end_value(scan);
	return good;
}

/* The asked-for member of this name, or NULL. */
static struct json_member *find_member(const struct scan *scan, struct json_value name)
{
	for (size_t i = 0; i < scan->member_count; i++)
		if (json_string_is(name, scan->members[i].name))
			return &scan->members[i];
	return NULL;
}

/* A name and its colon. */
static bool scan_name(struct scan *scan)
{
	struct cursor *cursor = &scan->cursor;
	struct json_value name = {.kind = JSON_STRING, .at = cursor->at};

	if (*cursor->at != '"')
		return fail_here(cursor);
	if (!scan_string(cursor))
		return false;
	if (scan->depth == 1) {
		name.len = (size_t)(cursor->at - name.at);
		scan->wanted = find_member(scan, name);
	}
	skip_space(cursor);
	scan->expect = EXPECT_VALUE;
	return scan_word(cursor, ":");
}

/* One token, the cursor on its first byte. */
static bool scan_token(struct scan *scan)
{
	char first = *scan->cursor.at;

	switch (scan->expect) {
	case EXPECT_VALUE_OR_END:
		return first == ']' ? close_bracket(scan) : scan_value(scan);
	case EXPECT_VALUE:
		return scan_value(scan);
	case EXPECT_NAME_OR_END:
		return first == '}' ? close_bracket(scan) : scan_name(scan);
	case EXPECT_NAME:
		return scan_name(scan);
	case EXPECT_COMMA_OR_END:
		if (first != ',')
			return close_bracket(scan);
		scan->cursor.at++;
		scan->expect = in_object(scan) ? EXPECT_NAME : EXPECT_VALUE;
		return true;
	default:
		return fail(&scan->cursor, "more text after the value");
	}
}

static bool scan_text(struct scan *scan)
{
	struct cursor *cursor = &scan->cursor;

	if (cursor->end - cursor->at >= 3 && memcmp(cursor->at, "\xEF\xBB\xBF", 3) == 0)
		return fail(cursor, "byte order mark");
	for (;;) {
		skip_space(cursor);
		if (cursor->at == cursor->end)
			return scan->expect == EXPECT_NOTHING || fail_here(cursor);
		if (!scan_token(scan))
			return false;
	}
}

const char *json_object_members(const char *text, size_t len, struct json_member *members,
				size_t count, size_t *error_at)
{
	struct scan scan = {.cursor = {.at = text, .end = text + len},
			    .members = members,
			    .member_count = count};
	struct cursor first = scan.cursor;
	bool good;

	for (size_t i = 0; i < count; i++)
		members[i].value = (struct json_value){.kind = JSON_ABSENT};
	skip_space(&first);
	good = scan_text(&scan);
	*error_at = (size_t)((good ? first.at : scan.cursor.at) - text);
	if (!good)
		return scan.cursor.fault;
	return *first.at == '{' ? NULL : "not an object";
}
