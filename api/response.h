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

struct response;

struct response *response_new(void);
void response_free(struct response *response);

/* An error: one line of text, to which a newline is added. A 503 brings Retry-After. */
void response_error(struct response *response, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* 405; `allowed` is the method that is allowed. */
void response_wrong_method(struct response *response, const char *allowed);

#define RESPONSE_TEXT "text/plain; charset=utf-8"
#define RESPONSE_JSON "application/json"
#define RESPONSE_METRICS "text/plain; version=0.0.4; charset=utf-8"

/* An answer that is no error, with a body of that type, copied. */
void response_body(struct response *response, int status, const char *type, const char *body,
		   size_t len);

/* 200 {"name":number} */
void response_number(struct response *response, const char *name, int64_t number);

/* Header and body. Valid until the next answer is made. */
const char *response_bytes(const struct response *response, size_t *len);

/* The status code of the answer. */
int response_status(const struct response *response);

/* True when it is an error. A degraded status, though a 503, is not. */
bool response_is_error(const struct response *response);

#endif
