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

bool origin_normalise(const char *text, size_t len, bool is_pattern, char out[ORIGIN_SIZE])
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
	if (*end != ':' || !slice_number(slice_of(end + 1), PORT_MAX, &port))
		return false;
	if ((port == 80 && (starts_with(out, "http://") || starts_with(out, "ws://"))) ||
	    (port == 443 && (starts_with(out, "https://") || starts_with(out, "wss://"))))
		*end = '\0'; /* the scheme's default port */
	return port > 0;
}

const char *origin_pattern_fault(const char *text, size_t len, char out[ORIGIN_SIZE])
{
	if (origin_normalise(text, len, true, out))
		return NULL;
	return len > 0 && text[len - 1] == '/' && origin_normalise(text, len - 1, true, out)
		       ? "an origin ends in its host or port: leave out the slash at the end"
		       : "";
}

/* The star stands for one character or more: for labels of a name, since the origin is a good one.
 */
bool origin_is_listed(const char *list, const char *text, size_t len)
{
	char origin[ORIGIN_SIZE];

	if (!origin_normalise(text, len, false, origin))
		return false;
	for (size_t origin_len = strlen(origin), pattern_len; *list; list += pattern_len) {
		pattern_len = strcspn(list, ",");
		const char *star = memchr(list, '*', pattern_len);
		size_t before = star ? (size_t)(star - list) : pattern_len;
		size_t behind = star ? pattern_len - before - 1 : 0;

		if ((star ? origin_len >= pattern_len : origin_len == pattern_len) &&
		    memcmp(origin, list, before) == 0 &&
		    memcmp(origin + origin_len - behind, list + pattern_len - behind, behind) == 0)
			return true;
		pattern_len += list[pattern_len] == ',';
	}
	return false;
}

bool origin_is_allowed(const char *list, const char *text, size_t len)
{
	return !text || !*list || origin_is_listed(list, text, len);
}

/* An origin that is listed has no byte that could end a line. Others get another answer, which
 * caches are told in any case. */
size_t origin_head(const char *list, const char *text, size_t len, char out[ORIGIN_HEAD_SIZE])
{
	const char *allow = "Access-Control-Allow-Origin", *vary = "Vary: Origin\r\n";
	int written;

	if (!*list)
		written = snprintf(out, ORIGIN_HEAD_SIZE, "%s: *\r\n", allow);
	else if (text && origin_is_listed(list, text, len))
		written = snprintf(out, ORIGIN_HEAD_SIZE, "%s: %.*s\r\n%s", allow, (int)len, text,
				   vary);
	else
		written = snprintf(out, ORIGIN_HEAD_SIZE, "%s", vary);
	return (size_t)written;
}
