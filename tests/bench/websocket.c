/*
 * The client's side of RFC 6455, see websocket.h. No state. The key of the handshake and the mask
 * of the frames are always the same: they protect proxies from browsers, and here is neither.
 */
#include "tests/bench/websocket.h"

#include <stdint.h>

#include "tests/bench/fail.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* the answer to KEY, from RFC 6455 */

enum { FINAL = 0x80, MASKED = 0x80, RESERVED = 0x70, MASK_BYTES = 4, SHORT_MAX = 125 };

static const unsigned char mask[MASK_BYTES] = {0x5a, 0x17, 0xc3, 0x88};

size_t websocket_request(char *out, size_t size, const char *target)
{
	int len = snprintf(out, size,
			   "GET %s HTTP/1.1\r\n"
			   "Host: localhost\r\n"
			   "Upgrade: websocket\r\n"
			   "Connection: Upgrade\r\n"
			   "Sec-WebSocket-Key: " KEY "\r\n"
			   "Sec-WebSocket-Version: 13\r\n\r\n",
			   target);

	if (len < 0 || (size_t)len >= size)
		fail("the handshake does not fit");
	return (size_t)len;
}

bool websocket_accepted(const char *head, size_t len)
{
	static const char status[] = "HTTP/1.1 101 ";

	return len > sizeof(status) && memcmp(head, status, sizeof(status) - 1) == 0 &&
	       memmem(head, len, ACCEPT, sizeof(ACCEPT) - 1);
}

size_t websocket_client_frame(char *out, int opcode, const char *payload, size_t len)
{
	size_t at = 0;

	out[at++] = (char)(FINAL | opcode);
	if (len <= SHORT_MAX) {
		out[at++] = (char)(MASKED | len);
	} else {
		out[at++] = (char)(MASKED | 126);
		out[at++] = (char)(len >> 8 & 0xff);
		out[at++] = (char)(len & 0xff);
	}
	memcpy(out + at, mask, MASK_BYTES);
	at += MASK_BYTES;
	for (size_t i = 0; i < len; i++)
		out[at + i] = (char)((unsigned char)payload[i] ^ mask[i % MASK_BYTES]);
	return at + len;
}

/* `count` bytes, the highest first. */
static uint64_t number(const unsigned char *bytes, size_t count)
{
	uint64_t value = 0;

	for (size_t i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

size_t websocket_server_frame(const char *bytes, size_t len, struct websocket_frame *frame)
{
	const unsigned char *at = (const unsigned char *)bytes;
	size_t header = 2;

	if (len < header)
		return 0;
	if (at[0] & RESERVED || at[1] & MASKED)
		fail("a frame that no server may send");

	uint64_t payload_len = at[1];
	if (payload_len > SHORT_MAX) {
		size_t extended = payload_len == 126 ? 2 : 8;

		if (len < header + extended)
			return 0;
		payload_len = number(at + header, extended);
		header += extended;
	}
	if (len - header < payload_len)
		return 0;
	frame->opcode = at[0] & 0x0f;
	frame->is_final = at[0] & FINAL;
	frame->payload = bytes + header;
	frame->len = (size_t)payload_len;
	return header + (size_t)payload_len;
}
