/*
 * The stream: a session whose server frames go out as server-sent events, in the answer to a POST
 * whose body is the client's only message. Here is what a WebSocket does not need: how that request
 * is answered. `cors` is the lines that the head of an answer needs for pages of other origins.
 */
#ifndef GATEWAY_STREAM_H
#define GATEWAY_STREAM_H

struct frame;

/* The head of the answer, with which the stream begins. */
struct frame *stream_head(const char *cors);

/* The whole answer when there will be no stream; see answer_write. */
struct frame *stream_refusal(int status, const char *text, const char *cors);

#endif
