/* Shared frames, see frame.h. State: a reference count in each. */
#include "gateway/events/frame.h"

#include <assert.h>
#include <inttypes.h>

#include "shared/base/alloc.h"
#include "shared/base/version.h"
#include "shared/contract/duration.h"
#include "shared/contract/position.h"

/* The header is written into the room before the bytes, so they must touch. */
static_assert(offsetof(struct frame, bytes) == offsetof(struct frame, room) + FRAME_ROOM,
	      "the room lies right before the bytes");

struct frame *frame_new(size_t len)
{
	struct frame *frame = xreallocarray(NULL, 1, sizeof(*frame) + len);

	*frame = (struct frame){.references = 1, .len = len};
	return frame;
}

struct frame *frame_of_text(const char *text)
{
	struct frame *frame = frame_new(strlen(text));

	memcpy(frame->bytes, text, frame->len);
	return frame;
}

#define PUSH_HEAD "{\"type\":\"push\",\"payload\":"

struct frame *frame_of_push(const char *id, const char *payload, size_t payload_len)
{
	enum { HEAD_MAX = 64 + POSITION_TEXT_SIZE };
	static const char before_id[] = "{\"type\":\"push\",\"id\":";
	char head[HEAD_MAX];
	int len = id ? snprintf(head, HEAD_MAX, "%s%s,\"payload\":", before_id, id)
		     : snprintf(head, HEAD_MAX, PUSH_HEAD);
	size_t head_len = (size_t)len;
	struct frame *frame = frame_new(head_len + payload_len + 1);

	assert(len > 0 && len < HEAD_MAX);
	memcpy(frame->bytes, head, head_len);
	memcpy(frame->bytes + head_len, payload, payload_len);
	frame->bytes[head_len + payload_len] = '}';
	frame->is_push = true;
	if (id) {
		size_t quote = *id == '"';

		frame->id_at = (uint16_t)(sizeof(before_id) - 1 + quote);
		frame->id_len = (uint16_t)(strlen(id) - 2 * quote);
	}
	return frame;
}

/* The length of the first line, which is nearly always the whole text. */
static size_t first_line(const struct frame *text)
{
	const char *feed = memchr(text->bytes, '\n', text->len);
	size_t len = feed ? (size_t)(feed - text->bytes) : text->len;
	const char *cr = memchr(text->bytes, '\r', len);

	return cr ? (size_t)(cr - text->bytes) : len;
}

struct frame *frame_of_event(const struct frame *text)
{
	const char data[] = "data: ", id[] = "\nid: ", end[] = "\n\n";
	size_t data_len = strlen(data), lines = 1, first = first_line(text);

	for (size_t i = first; i < text->len; i++)
		lines += text->bytes[i] == '\n' || text->bytes[i] == '\r';
	struct frame *event =
		frame_new(text->len + lines * data_len + sizeof(id) + text->id_len + sizeof(end));
	char *out = mempcpy(event->bytes, data, data_len);
	out = mempcpy(out, text->bytes, first);
	for (size_t i = first; i < text->len; i++) {
		if (text->bytes[i] != '\n' && text->bytes[i] != '\r') {
			*out++ = text->bytes[i];
			continue;
		}
		i += text->bytes[i] == '\r' && i + 1 < text->len && text->bytes[i + 1] == '\n';
		*out++ = '\n';
		out = mempcpy(out, data, data_len);
	}
	if (text->id_len > 0) {
		out = mempcpy(out, id, strlen(id));
		out = mempcpy(out, text->bytes + text->id_at, text->id_len);
	}
	out = mempcpy(out, end, strlen(end));
	event->len = (size_t)(out - event->bytes);
	event->is_push = text->is_push;
	event->is_bare = true;
	return event;
}

const char *frame_push_payload(const struct frame *push, size_t *len)
{
	*len = push->len - sizeof(PUSH_HEAD); /* its NUL counts for the closing brace */
	return push->bytes + sizeof(PUSH_HEAD) - 1;
}

struct frame *frame_of_status(const struct gauges *gauges)
{
	enum { STATUS_MAX = 512 }; /* six numbers of 20 digits fit */
	int64_t uptime_s = gauges->uptime_s > 0 ? gauges->uptime_s : 0; /* the clock was set back */
	struct frame *frame = frame_new(STATUS_MAX);
	char uptime[DURATION_TEXT_SIZE];
	int len;

	duration_format(uptime_s, uptime);
	len = snprintf(frame->bytes, STATUS_MAX,
		       "{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"%s\","
		       "\"uptime\":\"%s\",\"uptime_seconds\":%" PRId64 ","
		       "\"registered_topics\":%" PRId64 ",\"active_topics\":%" PRId64 ","
		       "\"connected_clients\":%" PRId64 ",\"connected_sockets\":%" PRId64 ","
		       "\"cluster_nodes\":%" PRId64 "}}",
		       WORKER_VERSION, uptime, uptime_s, gauges->registered_topics,
		       gauges->active_topics, gauges->connected_clients, gauges->connected_sockets,
		       gauges->cluster_nodes);
	assert(len > 0 && len < STATUS_MAX);
	frame->len = (size_t)len;
	return frame;
}

bool frame_is_short(const struct frame *frame)
{
	enum { SHORT_MAX = 32768 };

	return frame->len <= SHORT_MAX;
}

struct frame *frame_hold(struct frame *frame)
{
	frame->references++;
	return frame;
}

void frame_release(struct frame *frame)
{
	if (frame && --frame->references == 0)
		free(frame);
}

/* For a WebSocket (RFC 6455, section 5.2): a text frame, the last of its message, not masked. */
const char *frame_wire(struct frame *frame, size_t *len)
{
	enum { FIN_TEXT = 0x81, SHORT_MAX = 125, LEN_16 = 126, LEN_64 = 127 };
	size_t len_bytes = frame->len <= SHORT_MAX ? 0 : frame->len <= UINT16_MAX ? 2 : 8;
	unsigned char *header = (unsigned char *)frame->bytes - 2 - len_bytes;

	*len = frame->len;
	if (frame->is_bare)
		return frame->bytes;
	header[0] = FIN_TEXT;
	header[1] = (unsigned char)(len_bytes == 0   ? frame->len
				    : len_bytes == 2 ? (size_t)LEN_16
						     : (size_t)LEN_64);
	for (size_t i = 0; i < len_bytes; i++)
		header[2 + i] = (unsigned char)(frame->len >> (8 * (len_bytes - 1 - i)));
	*len = 2 + len_bytes + frame->len;
	return (char *)header;
}
