/* Streams, see stream.h. State: of each request, until it is answered. Never blocks. */
#include "gateway/client/stream.h"

#include <stdio.h>

#include "gateway/client/answer.h"
#include "gateway/events/frame.h"
#include "shared/base/alloc.h"

struct stream *stream_new(struct body body, const char *cors)
{
	size_t size = strlen(cors) + 1;
	struct stream *stream = xreallocarray(NULL, 1, sizeof(*stream) + size);

	stream->body = body;
	memcpy(stream->cors, cors, size);
	return stream;
}

void stream_free(struct stream *stream)
{
	free(stream);
}

static struct frame *bare(const char *text, size_t len)
{
	struct frame *frame = frame_new(len);

	memcpy(frame->bytes, text, len);
	frame->is_bare = true;
	return frame;
}

/* Nothing says how long the answer is: it goes on until the connection ends. */
struct frame *stream_head(const struct stream *stream)
{
	char head[ANSWER_SIZE];
	int len = snprintf(head, sizeof(head),
			   "HTTP/1.1 200 OK\r\n"
			   "Content-Type: text/event-stream\r\n"
			   "Cache-Control: no-store\r\n"
			   "X-Accel-Buffering: no\r\n"
			   "X-Content-Type-Options: nosniff\r\n"
			   "Connection: close\r\n"
			   "%s\r\n",
			   stream->cors);

	return bare(head, (size_t)len);
}

struct frame *stream_refusal(const struct stream *stream, int status, const char *text)
{
	char answer[ANSWER_SIZE];
	size_t len = answer_write(answer, status, text, stream->cors, true);

	return bare(answer, len);
}
