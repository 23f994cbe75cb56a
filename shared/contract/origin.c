/* Web origins, see origin.h. No state; never blocks. Called with headers that anyone may have
 * written. */
#include "shared/contract/origin.h"

#include "shared/base/slice.h"

enum { SCHEME_MAX = 33, HOST_MAX = 255, PORT_MAX = 65535 };

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* The scheme's default port; 0: it has none. */
static unsigned default_port(const char *origin)
{
	if (starts_with(origin, "http://") || starts_with(origin, "ws://"))
		return 80;
	return starts_with(origin, "https://") || starts_with(origin, "wss://") ? 443 : 0;
}

/* With `is_pattern` the host may begin with "*.". */
static bool normalise(const char *text, size_t len, bool is_pattern, char out[ORIGIN_SIZE])
{
	size_t scheme_len, host_len;
	unsigned port = 0;
	char *end; /* of what has been read */
	bool is_ipv6;

	if (len >= ORIGIN_SIZE || memchr(text, '\0', len))
		return false;
	for (size_t i = 0; i < len; i++)
		out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
	out[len] = '\0';
	scheme_len = strspn(out, LETTERS DIGITS "+-.");
	end = out + scheme_len;
	if (strspn(out, LETTERS) == 0 || scheme_len > SCHEME_MAX || !starts_with(end, "://"))
		return false;
	end += strlen("://");
	if (is_pattern && starts_with(end, "*."))
		end += strlen("*.");
	is_ipv6 = *end == '[';
	end += is_ipv6;
	host_len = strspn(end, is_ipv6 ? DIGITS "abcdef:." : LETTERS DIGITS "-._");
	end += host_len;
	if (host_len == 0 || host_len > HOST_MAX || (is_ipv6 && *end++ != ']'))
		return false;
	if (*end == '\0')
		return true;
	if (*end != ':' || !slice_number((struct slice){end + 1, strlen(end + 1)}, PORT_MAX, &port))
		return false;
	if (port == default_port(out))
		*end = '\0';
	return port > 0;
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
