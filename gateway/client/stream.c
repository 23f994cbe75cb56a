/* Streams, see stream.h. No state. Never blocks. */
#include "gateway/client/stream.h"

#include "gateway/client/answer.h"
#include "gateway/events/frame.h"

static struct frame *bare(const char *text, size_t len)
{
	struct frame *frame = frame_new(len);

	memcpy(frame->bytes, text, len);
	frame->is_bare = true;
	return frame;
}

/* Nothing says how long the answer is: it goes on until the connection ends. */
struct frame *stream_head(const char *cors)
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
			   cors);

	return bare(head, (size_t)len);
}

struct frame *stream_refusal(int status, const char *text, const char *cors)
{
	char answer[ANSWER_SIZE];
	size_t len = answer_write(answer, status, text, cors, true);

	return bare(answer, len);
}
