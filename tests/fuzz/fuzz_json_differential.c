// needs: tests/fuzz/oracle.c
// links: jansson
/*
 * Our JSON and jansson's, a strict parser that shares nothing with it: what one takes the other
 * takes too, and the members found are the same values.
 *
 * The known differences, and what is done about them. Each replacement keeps the length, JSON stays
 * JSON, and nothing else becomes it; then both parsers read the same bytes.
 *
 * - An escaped lone surrogate is grammar to us, an error to jansson: it becomes \u0041.
 * - An escaped NUL in a name is an error to jansson: \u0000 becomes \u0041.
 * - A bare NUL is at times the end of the text to jansson: it becomes \001, which is wrong as well.
 * - A number beyond a double is an error to jansson: the digits of an exponent become 0, and a text
 *   with more than 300 digits in a row is left out.
 * - We go 1024 levels deep, jansson 2048: a text that we find too deep is left out.
 * - A text that is no object is refused by us after its grammar was checked: it counts as taken.
 */
#include "tests/fuzz/fuzz.h"

#include "shared/json/json.h"
#include "tests/fuzz/oracle.h"

enum { ESCAPE_LEN = 6, MAX_DIGITS = 300 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The code unit of the escape at `text`, -1 when there is none within `len`. */
static long escaped_unit(const char *text, size_t len)
{
	char hex[5] = "";

	if (len < ESCAPE_LEN || text[0] != '\\' || text[1] != 'u')
		return -1;
	memcpy(hex, text + 2, 4);
	return strspn(hex, "0123456789abcdefABCDEF") == 4 ? strtol(hex, NULL, 16) : -1;
}

/* Backslashes are in strings only, or the text is wrong from there on anyway. */
static void replace_escapes(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		long unit = escaped_unit(text + i, len - i);

		if (unit >= 0xD800 && unit <= 0xDBFF && len - i >= 2 * ESCAPE_LEN) {
			long low = escaped_unit(text + i + ESCAPE_LEN, ESCAPE_LEN);

			if (low >= 0xDC00 && low <= 0xDFFF) {
				i += 2 * ESCAPE_LEN - 1; /* a pair */
				continue;
			}
		}
		if (unit == 0 || (unit >= 0xD800 && unit <= 0xDFFF))
			memcpy(text + i + 2, "0041", 4);
		if (text[i] == '\\')
			i++;
	}
}

static void replace_nuls(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0')
			text[i] = '\001';
}

static void replace_exponents(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((text[i] | 0x20) != 'e')
			continue;
		size_t at = i + 1;
		if (at < len && (text[at] == '+' || text[at] == '-'))
			at++;
		for (; at < len && is_digit(text[at]); at++)
			text[at] = '0';
	}
}

static bool has_huge_number(const char *text, size_t len)
{
	size_t digits = 0;

	for (size_t i = 0; i < len; i++) {
		digits = is_digit(text[i]) ? digits + 1 : 0;
		if (digits > MAX_DIGITS)
			return true;
	}
	return false;
}

static void compare_member(const struct oracle *object, const struct json_member *member)
{
	const struct oracle *expected = oracle_member(object, member->name);

	if (member->value.kind == JSON_ABSENT) {
		assert(!expected);
		return;
	}
	struct oracle *found = oracle_read(member->value.at, member->value.len);
	assert(expected && found && oracle_equal(expected, found));
	if (member->value.kind == JSON_STRING) {
		size_t len, expected_len;
		const char *bytes = oracle_string(expected, &expected_len);
		char *decoded = malloc(member->value.len);

		assert(decoded && bytes);
		assert(json_string_decode(member->value, decoded, member->value.len, &len));
		assert(len == expected_len && memcmp(decoded, bytes, len) == 0);
		free(decoded);
	}
	oracle_free(found);
}

static void compare(const char *text, size_t len)
{
	struct json_member members[] = {{.name = "a"}, {.name = "topic"}, {.name = "payload"}};
	const size_t count = sizeof(members) / sizeof(members[0]);
	size_t error_at;
	const char *why = json_object_members(text, len, members, count, &error_at);

	if (why && strncmp(why, "nested too deep", 15) == 0)
		return;
	struct oracle *value = oracle_read(text, len);
	bool is_taken = !why || strcmp(why, "not an object") == 0;
	assert(is_taken == (value != NULL));
	assert(!value || oracle_is_object(value) == !why);
	for (size_t i = 0; !why && i < count; i++)
		compare_member(value, &members[i]);
	oracle_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + !size);

	assert(text);
	memcpy(text, data, size);
	replace_nuls(text, size);
	replace_escapes(text, size);
	replace_exponents(text, size);
	if (!has_huge_number(text, size))
		compare(text, size);
	free(text);
	return 0;
}
