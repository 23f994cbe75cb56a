/* HTTP answers, see answer.h. No state; never blocks. */
#include "gateway/client/answer.h"

#include <assert.h>

/* What goes with a status. */
static const struct answer {
	int status;
	const char *phrase;
	const char *connection;
	const char *extra; /* header lines */
} answers[] = {
	{200, "OK", "close", "Cache-Control: no-store\r\n"},
	{400, "Bad Request", "close", ""},
	{401, "Unauthorized", "close", ""},
	{403, "Forbidden", "close", ""},
	{404, "Not Found", "close", ""},
	{405, "Method Not Allowed", "close", "Allow: POST\r\n"},
	{408, "Request Timeout", "close", ""},
	{413, "Content Too Large", "close", ""},
	{426, "Upgrade Required", "close, Upgrade",
	 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
	{429, "Too Many Requests", "close", "Retry-After: 1\r\n"},
	{431, "Request Header Fields Too Large", "close", ""},
	{503, "Service Unavailable", "close", "Retry-After: 1\r\n"},
};

size_t answer_write(char out[ANSWER_SIZE], int status, const char *text, const char *head,
		    bool with_body)
{
	const struct answer *answer = answers;
	bool is_json = text[0] == '{';
	const char *end = is_json ? "" : "\n";

	while (answer->status != status)
		answer++;
	int len = snprintf(out, ANSWER_SIZE,
			   "HTTP/1.1 %d %s\r\n"
			   "Content-Type: %s\r\n"
			   "Content-Length: %zu\r\n"
			   "X-Content-Type-Options: nosniff\r\n"
			   "Connection: %s\r\n"
			   "%s%s\r\n%s%s",
			   status, answer->phrase,
			   is_json ? "application/json" : "text/plain; charset=utf-8",
			   strlen(text) + strlen(end), answer->connection, answer->extra, head,
			   with_body ? text : "", with_body ? end : "");

	assert(len > 0 && len < ANSWER_SIZE);
	return (size_t)len;
}
