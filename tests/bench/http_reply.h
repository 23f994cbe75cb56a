/*
 * An HTTP/1.1 answer, as far as a publisher needs it. Pure.
 */
#ifndef BENCH_HTTP_REPLY_H
#define BENCH_HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

struct http_reply {
	int status;
	bool closes; /* the server ends the connection behind it */
	size_t body_len;
};

/* True when the answer is there to its end, and *reply filled. The program ends when it is no
 * answer. */
bool http_reply_read(const char *bytes, size_t len, struct http_reply *reply);

#endif
