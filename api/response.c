/*
 * HTTP answers, see response.h. State: the answer in hand, in a buffer that grows to the longest
 * status list ever asked for. Called by routes.c and the handlers. Never blocks, never fails.
 */
#include "api/response.h"

#include <stdarg.h>

#include "shared/base/alloc.h"

enum {
	HEADER_SIZE = 1024 + RESPONSE_LINES_SIZE, /* more than any header below */
	LINE_SIZE = 512
};

static const char *const phrases[] = {
	[200] = "OK",
	[204] = "No Content",
	[400] = "Bad Request",
	[401] = "Unauthorized",
	[403] = "Forbidden",
	[404] = "Not Found",
	[405] = "Method Not Allowed",
	[413] = "Content Too Large",
	[429] = "Too Many Requests",
	[503] = "Service Unavailable",
};

void response_body(struct response *response, int status, const char *type, const char *body,
		   size_t len)
{
	size_t needed = HEADER_SIZE + len;
	char extra[64] = "", content[160] = "";

	if (response->size < needed) {
		response->bytes = xreallocarray(response->bytes, needed, 1);
		response->size = needed;
	}
	if ((status == 429 || status == 503) && !response->is_done)
		snprintf(extra, sizeof(extra), "Retry-After: 1\r\n");
	else if (status == 405)
		snprintf(extra, sizeof(extra), "Allow: %s\r\n", response->allowed);
	if (status != 204)
		snprintf(content, sizeof(content),
			 "Content-Type: %s\r\n"
			 "Content-Length: %zu\r\n"
			 "X-Content-Type-Options: nosniff\r\n",
			 type, len);
	response->header_len =
		(size_t)snprintf(response->bytes, HEADER_SIZE, "Status: %d %s\r\n%s%s%s\r\n",
				 status, phrases[status], content, extra, response->lines);
	memcpy(response->bytes + response->header_len, body, len);
	response->len = response->header_len + len;
	response->status = status;
	response->is_error = false;
}

void response_error(struct response *response, int status, const char *format, ...)
{
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	size_t len = strlen(line); /* cut when it was too long */
	line[len++] = '\n';
	response_body(response, status, RESPONSE_TEXT, line, len);
	response->is_error = true;
}

void response_number(struct response *response, const char *name, int64_t number)
{
	char json[64];
	int len = snprintf(json, sizeof(json), "{\"%s\":%lld}", name, (long long)number);

	response_body(response, 200, RESPONSE_JSON, json, (size_t)len);
}
