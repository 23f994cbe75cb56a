/*
 * Any bytes as JSON. If a text is refused, what comes before the first wrong byte could have become
 * a good one. If it is taken, each member is by itself what it was found to be,
 * strings decode to UTF-8 within any room, and integers are what the C library reads.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "shared/json/json.h"
#include "shared/base/utf8.h"

enum { A, TOPIC, PAYLOAD, EMPTY, MEMBERS };

static void init(struct json_member members[MEMBERS])
{
	static const char *const names[MEMBERS] = {"a", "topic", "payload", ""};

	for (size_t i = 0; i < MEMBERS; i++)
		members[i] = (struct json_member){.name = names[i]};
}

static void check_fault(const char *text, const char *why, size_t error_at, size_t len)
{
	struct json_member members[MEMBERS];
	bool is_complete = strcmp(why, "more text after the value") == 0;
	size_t at = 0;

	assert(why[0] != '\0' && error_at <= len);
	init(members);
	why = json_object_members(text, error_at, members, MEMBERS, &at);
	if (is_complete)
		assert(!why || strcmp(why, "not an object") == 0);
	else
		assert(why && strcmp(why, "unexpected end") == 0 && at == error_at);
}

static void check_string(struct json_value value)
{
	/* Never more than it takes in the text; a NUL behind it for json_string_is. */
	char *out = malloc(value.len);
	size_t len = 0;

	assert(out && value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"');
	if (json_string_decode(value, out, value.len - 2, &len)) {
		size_t ignored;

		assert(utf8_valid(out, len));
		out[len] = '\0';
		if (strlen(out) == len && len <= JSON_PLAIN_MAX)
			assert(json_string_is(value, out));
		assert(json_string_decode(value, out, len, &ignored) && ignored == len);
		assert(len == 0 || !json_string_decode(value, out, len - 1, &ignored));
	}
	free(out);
}

static void check_number(struct json_value value)
{
	char *text = strndup(value.at, value.len);
	bool is_integer = value.len == strspn(text, "-0123456789");
	int64_t number;
	char *end;

	errno = 0;
	long long expected = strtoll(text, &end, 10);
	if (json_int64(value, &number))
		assert(is_integer && *end == '\0' && errno == 0 && number == expected);
	else
		assert(!is_integer || errno == ERANGE);
	free(text);
}

/* The value alone, in an object of its own. */
static void check_alone(struct json_value value)
{
	struct json_member member = {.name = "a"};
	size_t len = value.len + 6;
	char *text = malloc(len);
	size_t at;

	assert(text);
	memcpy(text, "{\"a\":", 5);
	memcpy(text + 5, value.at, value.len);
	text[len - 1] = '}';
	assert(!json_object_members(text, len, &member, 1, &at));
	assert(member.value.kind == value.kind && member.value.at == text + 5 &&
	       member.value.len == value.len);
	free(text);
}

static void check_value(const char *text, size_t len, struct json_value value)
{
	if (value.kind == JSON_ABSENT)
		return;
	assert(value.at > text && value.len > 0 && value.at + value.len < text + len);
	check_alone(value);
	if (value.kind == JSON_STRING)
		check_string(value);
	if (value.kind == JSON_NUMBER)
		check_number(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct json_member members[MEMBERS];
	size_t error_at = 0;

	init(members);
	const char *why = json_object_members(text, size, members, MEMBERS, &error_at);
	if (why) {
		check_fault(text, why, error_at, size);
		return 0;
	}
	assert(utf8_valid(text, size));
	for (size_t i = 0; i < MEMBERS; i++)
		check_value(text, size, members[i].value);
	return 0;
}
