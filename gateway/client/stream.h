/*
 * The stream: a session whose server frames go out as server-sent events, in the answer to a POST
 * whose body is the client's only message. Here is what that needs beside a WebSocket: the request,
 * until it is answered, and how it is answered.
 */
#ifndef GATEWAY_STREAM_H
#define GATEWAY_STREAM_H

#include "gateway/client/body.h"

struct frame;

/* A request that has not been answered. */
struct stream {
	struct body body; /* what is left of it */
	char cors[]; /* lines for the head of the answer */
};

struct stream *stream_new(struct body body, const char *cors);

/* NULL is allowed. */
void stream_free(struct stream *stream);

/* The head of the answer, with which the stream begins. */
struct frame *stream_head(const struct stream *stream);

/* The whole answer when there will be no stream; see answer_write. */
struct frame *stream_refusal(const struct stream *stream, int status, const char *text);

#endif
