/* Web origins, see origin.h. No state; never blocks. Called with headers that anyone may have
 * written. */
#include "shared/contract/origin.h"

enum { SCHEME_MAX = 32, HOST_MAX = 255, PORT_MAX = 65535 };

static const char small_letters[] = "abcdefghijklmnopqrstuvwxyz";
static const char scheme_more[] = "0123456789+-.";
static const char host_more[] = "0123456789-._";
static const char ipv6_letters[] = "0123456789abcdef:.";

/* What is left of the text to read, and what has been written of the result. */
struct reader {
	const char *at, *end;
	char *out;
	size_t len;
};

static char next_char(const struct reader *reader)
{
	char c = reader->at < reader->end ? *reader->at : '\0';

	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void take(struct reader *reader)
{
	reader->out[reader->len++] = next_char(reader);
	reader->at++;
}

/* Takes as many characters of the two sets as there are, at most `max`; returns how many. */
static size_t take_all(struct reader *reader, const char *set, const char *more, size_t max)
{
	size_t count = 0;

	while (next_char(reader) != '\0' && count < max &&
	       (strchr(set, next_char(reader)) || strchr(more, next_char(reader)))) {
		take(reader);
		count++;
	}
	return count;
}

static bool take_word(struct reader *reader, const char *word)
{
	for (; *word; word++) {
		if (next_char(reader) != *word)
			return false;
		take(reader);
	}
	return true;
}

/* With `is_pattern` the host may begin with "*.". */
static bool take_host(struct reader *reader, bool is_pattern)
{
	if (is_pattern && next_char(reader) == '*' && !take_word(reader, "*."))
		return false;
	if (next_char(reader) != '[')
		return take_all(reader, small_letters, host_more, HOST_MAX) > 0;
	take(reader);
	return take_all(reader, ipv6_letters, "", HOST_MAX) > 0 && take_word(reader, "]");
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* The scheme's default port; 0: it has none. */
static int default_port(const char *origin)
{
	if (starts_with(origin, "http://") || starts_with(origin, "ws://"))
		return 80;
	return starts_with(origin, "https://") || starts_with(origin, "wss://") ? 443 : 0;
}

/* ":443" to the end; a default port is left out. */
static bool take_port(struct reader *reader)
{
	size_t host_end = reader->len;
	int port = 0;

	if (reader->at == reader->end)
		return true;
	if (!take_word(reader, ":") || next_char(reader) == '0')
		return false;
	while (next_char(reader) >= '0' && next_char(reader) <= '9' && port <= PORT_MAX) {
		port = port * 10 + (next_char(reader) - '0');
		take(reader);
	}
	if (port == 0 || port > PORT_MAX || reader->at != reader->end)
		return false;
	if (port == default_port(reader->out))
		reader->len = host_end;
	return true;
}

static bool normalise(const char *text, size_t len, bool is_pattern, char out[ORIGIN_SIZE])
{
	struct reader reader = {.at = text, .end = text + len, .out = out};

	memset(out, 0, ORIGIN_SIZE);
	if (take_all(&reader, small_letters, "", 1) == 0)
		return false;
	take_all(&reader, small_letters, scheme_more, SCHEME_MAX);
	if (!take_word(&reader, "://") || !take_host(&reader, is_pattern) || !take_port(&reader))
		return false;
	out[reader.len] = '\0';
	return true;
}

bool origin_normalise(const char *text, size_t len, char out[ORIGIN_SIZE])
{
	return normalise(text, len, false, out);
}

const char *origin_pattern_fault(const char *text, size_t len, char out[ORIGIN_SIZE])
{
	if (normalise(text, len, true, out))
		return NULL;
	return len > 0 && text[len - 1] == '/' && normalise(text, len - 1, true, out)
		       ? "an origin ends in its host or port: leave out the slash at the end"
		       : "";
}

/* The star stands for one character or more: labels of a name, since `origin` is a good one. */
static bool matches(const char *pattern, size_t len, const char *origin, size_t origin_len)
{
	const char *star = memchr(pattern, '*', len);
	size_t before = star ? (size_t)(star - pattern) : len;
	size_t behind = star ? len - before - 1 : 0;

	return (star ? origin_len >= len : origin_len == len) &&
	       memcmp(origin, pattern, before) == 0 &&
	       memcmp(origin + origin_len - behind, pattern + len - behind, behind) == 0;
}

bool origin_is_listed(const char *list, const char *text, size_t len)
{
	char origin[ORIGIN_SIZE];

	if (!origin_normalise(text, len, origin))
		return false;
	while (*list) {
		size_t entry_len = strcspn(list, ",");

		if (matches(list, entry_len, origin, strlen(origin)))
			return true;
		list += entry_len + (list[entry_len] == ',');
	}
	return false;
}
