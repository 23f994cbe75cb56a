/*
 * HTTP answers, see http_reply.h. No state.
 */
#include "tests/bench/http_reply.h"

#include <ctype.h>
#include <strings.h>

#include "tests/bench/fail.h"

#define HEAD_END "\r\n\r\n"
#define LAST_CHUNK "0\r\n\r\n"

/* The value of a header, up to the end of its line; NULL when there is none. `head` ends in an
 * empty line. */
static const char *header(const char *head, size_t head_len, const char *name)
{
	const size_t name_len = strlen(name);
	const char *end = head + head_len;

	for (const char *line = memchr(head, '\n', head_len); line && line + 1 < end;
	     line = memchr(line + 1, '\n', (size_t)(end - line - 1))) {
		const char *at = line + 1;

		if ((size_t)(end - at) > name_len && strncasecmp(at, name, name_len) == 0 &&
		    at[name_len] == ':') {
			at += name_len + 1;
			return at + strspn(at, " ");
		}
	}
	return NULL;
}

static bool ends_in_last_chunk(const char *body, size_t len)
{
	const size_t last_len = sizeof(LAST_CHUNK) - 1;

	return len >= last_len && memcmp(body + len - last_len, LAST_CHUNK, last_len) == 0;
}

bool http_reply_read(const char *bytes, size_t len, struct http_reply *reply)
{
	static const char version[] = "HTTP/1.1 ";
	const char *end = memmem(bytes, len, HEAD_END, sizeof(HEAD_END) - 1);

	if (!end)
		return false;
	if (memcmp(bytes, version, sizeof(version) - 1) != 0)
		fail("no HTTP/1.1 answer");

	size_t head_len = (size_t)(end - bytes) + sizeof(HEAD_END) - 1;
	const char *length = header(bytes, head_len, "Content-Length");
	const char *connection = header(bytes, head_len, "Connection");
	reply->status = (int)strtol(bytes + sizeof(version) - 1, NULL, 10);
	reply->closes = connection && strncasecmp(connection, "close", 5) == 0;
	reply->body_len = len - head_len;
	if (length)
		return reply->body_len == strtoull(length, NULL, 10);
	if (!header(bytes, head_len, "Transfer-Encoding"))
		fail("an answer without a length");
	return ends_in_last_chunk(end + sizeof(HEAD_END) - 1, reply->body_len);
}
