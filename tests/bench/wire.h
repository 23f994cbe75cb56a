/*
 * What goes over the wire, as far as a load generator makes or understands it. Pure; the program
 *ends at bytes that no server may send. What is published is a JSON object of a chosen length, with
 *a sequence number and the time,
 *
 *	{"seq":"0000002a","at":"00000d1f3a2b4c5d","pad":"xxx..."}
 *
 * and what subscribers get of it is a push, {"type":"push","payload":...}.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUSH_START "{\"type\":\"push\",\"payload\":"
#define PUSH_END "}"

enum { PAYLOAD_MIN = 51, PAYLOAD_MAX = 1 << 20 };

/* Writes a payload of `len` bytes, without a NUL. */
void payload_write(char *out, size_t len, uint32_t sequence, int64_t at_ns);

/* True when `text` is a push of a payload of `payload_len` bytes, each of them as it was written.
 */
bool push_read(const char *text, size_t len, size_t payload_len, uint32_t *sequence,
	       int64_t *at_ns);

/* RFC 6455. What a client's frame takes beside its payload, at most: ours are never long. */
enum { FRAME_TEXT = 1, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10, FRAME_HEADER_MAX = 8 };

/* Writes the request for `target` (a path with its query); returns its length, without a NUL. */
size_t upgrade_request(char *out, size_t size, const char *target);

/* True when `head` (`len` bytes, up to and with the empty line) accepts that request. */
bool upgrade_accepted(const char *head, size_t len);

/* The same for a stream: a POST whose body is `auth`. */
size_t stream_request(char *out, size_t size, const char *target, const char *auth, size_t len);
bool stream_accepted(const char *head, size_t len);

/* Writes a client's frame; `out` has room for header and payload. Returns its length. */
size_t frame_write(char *out, int opcode, const char *payload, size_t len);

struct frame {
	int opcode;
	bool is_final;
	const char *payload;
	size_t len;
};

/* Reads a server's frame. Returns how many bytes it takes, 0 when it is not whole yet. */
size_t frame_read(const char *bytes, size_t len, struct frame *frame);

/* Reads a stream's event as a text frame, and a comment as a pong. */
size_t event_read(const char *bytes, size_t len, struct frame *frame);

struct reply {
	int status;
	bool closes; /* the server ends the connection behind it */
};

/* Reads an HTTP/1.1 answer; false when it is not whole yet. */
bool reply_read(const char *bytes, size_t len, struct reply *reply);

#endif
