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

/* 200 without a body. */
void response_done(struct response *response);

/* 200 {"id":N} */
void response_published(struct response *response, int64_t id);

/* 200 with metrics in Prometheus' text format, copied. */
void response_metrics(struct response *response, const char *text, size_t len);

/* JSON of `len` bytes, copied, with any status. */
void response_json(struct response *response, int status, const char *json, size_t len);

/* Header and body. Valid until the next answer is made. */
const char *response_bytes(const struct response *response, size_t *len);

/* The status code of the answer. */
int response_status(const struct response *response);

/* True when it is an error. A degraded status, though a 503, is not. */
bool response_is_error(const struct response *response);

#endif
