/*
 * HTTP answers, see response.h. State: the answer in hand, in a buffer that grows to the longest
 * status list ever asked for. Called by routes.c and the handlers. Never blocks, never fails.
 */
#include "api/response.h"

#include <stdarg.h>

#include "shared/base/alloc.h"

enum {
	HEADER_SIZE = 512, /* more than any header below */
	LINE_SIZE = 512
};

struct response {
	int status;
	bool is_error;
	char *bytes;
	size_t len, size;
};

struct response *response_new(void)
{
	return xcalloc(1, sizeof(struct response));
}

void response_free(struct response *response)
{
	if (!response)
		return;
	free(response->bytes);
	free(response);
}

static const char *phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	default:
		return "Service Unavailable";
	}
}

/* `extra` is further header lines, each with its CRLF. */
static void set(struct response *response, int status, const char *extra, const char *type,
		const char *body, size_t body_len)
{
	size_t needed = HEADER_SIZE + body_len;

	if (response->size < needed) {
		response->bytes = xreallocarray(response->bytes, needed, 1);
		response->size = needed;
	}
	int header_len = snprintf(response->bytes, HEADER_SIZE,
				  "Status: %d %s\r\n"
				  "Content-Type: %s\r\n"
				  "Content-Length: %zu\r\n"
				  "X-Content-Type-Options: nosniff\r\n"
				  "%s%s\r\n",
				  status, phrase(status), type, body_len,
				  status == 503 ? "Retry-After: 1\r\n" : "", extra);
	memcpy(response->bytes + header_len, body, body_len);
	response->len = (size_t)header_len + body_len;
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
	set(response, status, "", RESPONSE_TEXT, line, len);
	response->is_error = true;
}

void response_wrong_method(struct response *response, const char *allowed)
{
	static const char line[] = "method not allowed\n";
	char allow[64];

	snprintf(allow, sizeof(allow), "Allow: %s\r\n", allowed);
	set(response, 405, allow, RESPONSE_TEXT, line, sizeof(line) - 1);
	response->is_error = true;
}

void response_body(struct response *response, int status, const char *type, const char *body,
		   size_t len)
{
	set(response, status, "", type, body, len);
}

void response_number(struct response *response, const char *name, int64_t number)
{
	char json[64];
	int len = snprintf(json, sizeof(json), "{\"%s\":%lld}", name, (long long)number);

	set(response, 200, "", RESPONSE_JSON, json, (size_t)len);
}

const char *response_bytes(const struct response *response, size_t *len)
{
	*len = response->len;
	return response->bytes;
}

int response_status(const struct response *response)
{
	return response->status;
}

bool response_is_error(const struct response *response)
{
	return response->is_error;
}
