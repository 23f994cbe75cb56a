/*
 * Strict JSON in one pass, see json.h; single values are decoded in json_value.c. No state, no
 * allocation, no recursion, never blocks. Called for every body and every client frame: the hot
 * path of a publish.
 *
 * A loop over tokens, with the position in the grammar in `expect` and a byte for each open
 * bracket. It stops at the first wrong byte: everything before it could have become a good text.
 *
 * Nearly all bytes of a body are in strings: plain ones are skipped eight at a time, and the UTF-8
 * of the others is checked in the same pass.
 */
#include "shared/json/json.h"

#include <ctype.h>
#include <limits.h>

#include "shared/base/utf8.h"

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* right after '[' */
	EXPECT_NAME,
	EXPECT_NAME_OR_END, /* right after '{' */
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING /* the outermost value is complete */
};

struct scan {
	const char *at, *end;
	const char *fault; /* a constant sentence, NULL while all is well */
	enum expect expect;
	size_t depth;
	char brackets[JSON_MAX_DEPTH]; /* what closes each of the open ones */

	struct json_member *members;
	size_t member_count;
	struct json_member *wanted; /* the top-level member whose value is being read, or NULL */
};

/* The byte to read; -1: the text ends. */
static int here(const struct scan *scan)
{
	return scan->at < scan->end ? (unsigned char)*scan->at : -1;
}

/* What is wrong with the byte to read. */
static bool fail(struct scan *scan, const char *fault)
{
	scan->fault = scan->at < scan->end ? fault : "unexpected end";
	return false;
}

static bool unexpected(struct scan *scan)
{
	return fail(scan, "unexpected character");
}

/* The lexemes. Each function begins with `at` on a lexeme's first byte and leaves it after the
 * last. On failure it returns false, with `at` on the first wrong byte (or on `end`, when the text
 * ends too early) and the reason in `fault`. */

static bool skip_one_of(struct scan *scan, const char *wanted)
{
	if (here(scan) <= 0 || !strchr(wanted, *scan->at))
		return false;
	scan->at++;
	return true;
}

static bool scan_digits(struct scan *scan)
{
	const char *first = scan->at;

	while (here(scan) >= '0' && here(scan) <= '9')
		scan->at++;
	return scan->at > first || unexpected(scan);
}

static bool scan_number(struct scan *scan)
{
	skip_one_of(scan, "-");
	/* After a 0 the integer part ends: a digit now is a wrong byte. */
	if (!skip_one_of(scan, "0") && !scan_digits(scan))
		return false;
	if (skip_one_of(scan, ".") && !scan_digits(scan))
		return false;
	if (!skip_one_of(scan, "eE"))
		return true;
	skip_one_of(scan, "+-");
	return scan_digits(scan);
}

static bool scan_word(struct scan *scan, const char *word)
{
	for (; *word; word++, scan->at++)
		if (here(scan) != *word)
			return unexpected(scan);
	return true;
}

/* An escape, `at` on its backslash. A surrogate needs no partner here: see json.h. */
static bool scan_escape(struct scan *scan)
{
	scan->at++;
	if (skip_one_of(scan, "\"\\/bfnrt"))
		return true;
	if (here(scan) != 'u')
		return fail(scan, "bad escape in a string");
	scan->at++;
	for (int i = 0; i < 4; i++, scan->at++)
		if (!isxdigit(here(scan)))
			return fail(scan, "bad escape in a string");
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

static bool scan_string(struct scan *scan)
{
	const char *at = scan->at + 1;
	const char *const end = scan->end;

	for (;;) {
		while (end - at >= 8 && are_eight_plain(at))
			at += 8;
		while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 &&
		       *at != '"' && *at != '\\')
			at++;
		scan->at = at;
		if (here(scan) < 0x20)
			return fail(scan, "control character in a string");
		if (*at == '"') {
			scan->at++;
			return true;
		}
		if (*at == '\\' && !scan_escape(scan))
			return false;
		for (at = scan->at; at < end && (unsigned char)*at >= 0x80; scan->at = at) {
			size_t len = utf8_char_len(at, (size_t)(end - at));

			if (len == 0)
				return fail(scan, "invalid UTF-8");
			at += len;
		}
	}
}

/* The grammar. */

static void skip_space(struct scan *scan)
{
	while (scan->at < scan->end &&
	       (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
		scan->at++;
}

/* `at` is after a complete value. */
static bool end_value(struct scan *scan)
{
	scan->expect = scan->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
	if (scan->depth == 1 && scan->wanted) {
		scan->wanted->value.len = (size_t)(scan->at - scan->wanted->value.at);
		scan->wanted = NULL;
	}
	return true;
}

static bool close_bracket(struct scan *scan)
{
	if (*scan->at != scan->brackets[scan->depth - 1])
		return unexpected(scan);
	scan->at++;
	scan->depth--;
	return end_value(scan);
}

static bool scan_value(struct scan *scan)
{
	static const struct {
		enum json_kind kind;
		const char *word; /* NULL: not a word */
	} kinds[UCHAR_MAX + 1] = {
		['"'] = {JSON_STRING, NULL},   ['t'] = {JSON_TRUE, "true"},
		['f'] = {JSON_FALSE, "false"}, ['n'] = {JSON_NULL, "null"},
		['{'] = {JSON_OBJECT, NULL},   ['['] = {JSON_ARRAY, NULL},
	};
	unsigned char first = (unsigned char)*scan->at;
	struct json_value value = {.at = scan->at, .kind = kinds[first].kind};
	bool good;

	if (value.kind == JSON_ABSENT)
		value.kind = JSON_NUMBER; /* or nothing that is allowed here */
	_Static_assert(JSON_MAX_DEPTH == 1024, "the sentence below names the limit");
	if (value.kind >= JSON_ARRAY)
		good = scan->depth < JSON_MAX_DEPTH ||
		       fail(scan, "nested too deep (more than 1024 levels)");
	else if (kinds[first].word)
		good = scan_word(scan, kinds[first].word);
	else
		good = value.kind == JSON_STRING ? scan_string(scan) : scan_number(scan);
	if (!good)
		return false;
	if (scan->depth == 1 && scan->wanted)
		scan->wanted->value = value;
	if (value.kind < JSON_ARRAY)
		return end_value(scan);
	scan->brackets[scan->depth++] = value.kind == JSON_OBJECT ? '}' : ']';
	scan->at++;
	scan->expect = value.kind == JSON_OBJECT ? EXPECT_NAME_OR_END : EXPECT_VALUE_OR_END;
	return true;
}

/* A name and its colon. */
static bool scan_name(struct scan *scan)
{
	struct json_value name = {.kind = JSON_STRING, .at = scan->at};
	const char *text = scan->at + 1;
	char decoded[JSON_PLAIN_MAX];
	size_t len;

	if (*scan->at != '"')
		return unexpected(scan);
	if (!scan_string(scan))
		return false;
	name.len = (size_t)(scan->at - name.at);
	len = name.len - 2;
	if (memchr(text, '\\', len)) {
		text = decoded;
		if (!json_string_decode(name, decoded, sizeof(decoded), &len))
			len = 0; /* nobody asks for it */
	}
	for (size_t i = 0; i < scan->member_count && scan->depth == 1; i++) {
		struct json_member *member = &scan->members[i];

		if (strlen(member->name) == len &&
		    (member->in_any_case ? strncasecmp(text, member->name, len)
					 : memcmp(text, member->name, len)) == 0)
			scan->wanted = member;
	}
	skip_space(scan);
	scan->expect = EXPECT_VALUE;
	return scan_word(scan, ":");
}

/* One token. */
static bool scan_token(struct scan *scan)
{
	int first = here(scan);

	if (first < 0)
		return unexpected(scan);
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
		scan->at++;
		scan->expect = scan->brackets[scan->depth - 1] == '}' ? EXPECT_NAME : EXPECT_VALUE;
		return true;
	default:
		return fail(scan, "more text after the value");
	}
}

/* All of it; returns where its value begins. */
static const char *scan_text(struct scan *scan)
{
	const char *first;

	if (scan->end - scan->at >= 3 && memcmp(scan->at, "\xEF\xBB\xBF", 3) == 0)
		fail(scan, "byte order mark");
	skip_space(scan);
	first = scan->at;
	while (!scan->fault && (scan->at < scan->end || scan->expect != EXPECT_NOTHING))
		if (scan_token(scan))
			skip_space(scan);
	return first;
}

const char *json_object_members(const char *text, size_t len, struct json_member *members,
				size_t count, size_t *error_at)
{
	struct scan scan = {
		.at = text, .end = text + len, .members = members, .member_count = count};
	const char *first;

	for (size_t i = 0; i < count; i++)
		members[i].value = (struct json_value){.kind = JSON_ABSENT};
	first = scan_text(&scan);
	*error_at = (size_t)((scan.fault ? scan.at : first) - text);
	return scan.fault || *first == '{' ? scan.fault : "not an object";
}

bool json_is_valid(const char *text, size_t len)
{
	struct scan scan = {.at = text, .end = text + len};

	scan_text(&scan);
	return !scan.fault;
}
