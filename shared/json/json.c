/*
 * Strict JSON in one pass, see json.h; its strings and numbers are scanned in json_lexeme.c, and
 * single values decoded in json_value.c. No state, no allocation, no recursion, never blocks.
 * Called for every body and every client frame: the hot path of a publish.
 *
 * A loop over tokens, with the place in the grammar in `expect` and one bit for each open bracket.
 * It stops on the first wrong byte: whatever stands before that could have become a good text.
 */
#include "shared/json/json.h"

#include "shared/json/json_lexeme.h"

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* right behind '[' */
	EXPECT_NAME,
	EXPECT_NAME_OR_END, /* right behind '{' */
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING /* the outermost value is complete */
};

struct scan {
	struct json_cursor cursor;
	enum expect expect;
	size_t depth;
	uint64_t is_object[JSON_MAX_DEPTH / 64]; /* bit d: the bracket that opened depth d + 1 */

	struct json_member *members;
	size_t member_count;
	struct json_member *wanted; /* the top-level member whose value is being read, or NULL */
	struct json_value value; /* that value, its length not yet known */
};

static void skip_space(struct json_cursor *cursor)
{
	while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n' ||
					    *cursor->at == '\r' || *cursor->at == '\t'))
		cursor->at++;
}

static bool in_object(const struct scan *scan)
{
	size_t bit = scan->depth - 1;

	return scan->is_object[bit / 64] >> (bit % 64) & 1;
}

static bool open_bracket(struct scan *scan, bool is_object)
{
	uint64_t mask = UINT64_C(1) << (scan->depth % 64);

	_Static_assert(JSON_MAX_DEPTH == 1024, "the sentence below names the limit");
	if (scan->depth == JSON_MAX_DEPTH)
		return json_fail(&scan->cursor, "nested too deep (more than 1024 levels)");
	if (is_object)
		scan->is_object[scan->depth / 64] |= mask;
	else
		scan->is_object[scan->depth / 64] &= ~mask;
	scan->depth++;
	scan->cursor.at++;
	scan->expect = is_object ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
	return true;
}

/* The cursor is behind a complete value. */
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
	if (*scan->cursor.at != (in_object(scan) ? '}' : ']'))
		return json_fail_here(&scan->cursor);
	scan->cursor.at++;
	scan->depth--;
	end_value(scan);
	return true;
}

static enum json_kind kind_of(char first)
{
	switch (first) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't':
		return JSON_TRUE;
	case 'f':
		return JSON_FALSE;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER; /* or nothing that may stand here: json_scan_number tells */
	}
}

static bool scan_scalar(struct json_cursor *cursor, enum json_kind kind)
{
	switch (kind) {
	case JSON_STRING:
		return json_scan_string(cursor);
	case JSON_TRUE:
		return json_scan_word(cursor, "true");
	case JSON_FALSE:
		return json_scan_word(cursor, "false");
	case JSON_NULL:
		return json_scan_word(cursor, "null");
	default:
		return json_scan_number(cursor);
	}
}

static bool scan_value(struct scan *scan)
{
	enum json_kind kind = kind_of(*scan->cursor.at);

	if (scan->depth == 1)
		scan->value = (struct json_value){.kind = kind, .at = scan->cursor.at};
	if (kind == JSON_OBJECT || kind == JSON_ARRAY)
		return open_bracket(scan, kind == JSON_OBJECT);
	if (!scan_scalar(&scan->cursor, kind))
		return false;
	end_value(scan);
	return true;
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
	struct json_cursor *cursor = &scan->cursor;
	struct json_value name = {.kind = JSON_STRING, .at = cursor->at};

	if (*cursor->at != '"')
		return json_fail_here(cursor);
	if (!json_scan_string(cursor))
		return false;
	if (scan->depth == 1) {
		name.len = (size_t)(cursor->at - name.at);
		scan->wanted = find_member(scan, name);
	}
	skip_space(cursor);
	scan->expect = EXPECT_VALUE;
	return json_scan_word(cursor, ":");
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
		return json_fail(&scan->cursor, "more text after the value");
	}
}

static bool scan_text(struct scan *scan)
{
	struct json_cursor *cursor = &scan->cursor;

	if (cursor->end - cursor->at >= 3 && memcmp(cursor->at, "\xEF\xBB\xBF", 3) == 0)
		return json_fail(cursor, "byte order mark");
	for (;;) {
		skip_space(cursor);
		if (cursor->at == cursor->end)
			return scan->expect == EXPECT_NOTHING || json_fail_here(cursor);
		if (!scan_token(scan))
			return false;
	}
}

static bool is_object(const char *text, size_t len, size_t *error_at)
{
	struct json_cursor cursor = {.at = text, .end = text + len};

	skip_space(&cursor);
	*error_at = (size_t)(cursor.at - text);
	return *cursor.at == '{';
}

const char *json_object_members(const char *text, size_t len, struct json_member *members,
				size_t count, size_t *error_at)
{
	struct scan scan = {.cursor = {.at = text, .end = text + len},
			    .members = members,
			    .member_count = count};

	*error_at = 0;
	for (size_t i = 0; i < count; i++)
		members[i].value = (struct json_value){.kind = JSON_ABSENT};
	if (!scan_text(&scan)) {
		*error_at = (size_t)(scan.cursor.at - text);
		return scan.cursor.fault;
	}
	return is_object(text, len, error_at) ? NULL : "not an object";
}
