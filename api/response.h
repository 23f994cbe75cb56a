/*
 * Answers: the one place that turns an outcome into HTTP, as a CGI header and body in one buffer
 * that is reused for each request. Each function replaces the answer that was there before. Pure
 * but for memory; nothing here fails.
 */
#ifndef API_RESPONSE_H
#define API_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESPONSE_LINES_SIZE = 576 };

/* Begin with zeroes; free `bytes` in the end. */
struct response {
	const char *allowed; /* methods, for a 405 to name */
	char lines[RESPONSE_LINES_SIZE]; /* more lines of the header, each with its CRLF */
	bool is_done; /* it was done, although this is an error: the caller must not try again */
	int status;
	bool is_error; /* a degraded status, though a 503, is none */
	char *bytes; /* the header, then the body */
	size_t header_len, len, size;
};

/* An error: one line of text, to which a newline is added. */
void response_error(struct response *response, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define RESPONSE_TEXT "text/plain; charset=utf-8"
#define RESPONSE_JSON "application/json"
#define RESPONSE_METRICS "text/plain; version=0.0.4; charset=utf-8"

/* An answer that is no error, with a body of that type, copied; a 204 has neither. Any 429 and 503
 * brings Retry-After, unless is_done. */
void response_body(struct response *response, int status, const char *type, const char *body,
		   size_t len);

/* 200 {"name":number} */
void response_number(struct response *response, const char *name, int64_t number);

#endif
