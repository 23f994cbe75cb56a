/*
 * Payloads, WebSocket frames and HTTP answers, see wire.h. State: the push that is expected, kept
 * so that only its numbers are written anew. The key of the handshake and the mask of the frames
 * are always the same: they protect proxies from browsers, and there is neither here.
 */
#include "tests/bench/wire.h"

#include <err.h>
#include <strings.h>

#define SEQUENCE "{\"seq\":\""
#define AT "\",\"at\":\""
#define PAD "\",\"pad\":\""
#define END "\"}"
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* the answer to KEY, from RFC 6455 */
#define HEAD_END "\r\n\r\n"
#define LAST_CHUNK "0\r\n\r\n"
#define LEN(literal) (sizeof(literal) - 1)

enum {
	SEQUENCE_DIGITS = 8,
	AT_DIGITS = 16,
	SEQUENCE_START = LEN(SEQUENCE),
	AT_START = SEQUENCE_START + SEQUENCE_DIGITS + LEN(AT),
	PAD_START = AT_START + AT_DIGITS + LEN(PAD),
	FINAL = 0x80,
	MASKED = 0x80,
	RESERVED = 0x70,
	MASK_BYTES = 4,
	SHORT_MAX = 125
};

static const unsigned char mask[MASK_BYTES] = {0x5a, 0x17, 0xc3, 0x88};

static void put_hex(char *out, size_t digits, uint64_t value)
{
	while (digits-- > 0) {
		out[digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

/* Anything for what is no number: the comparison of all bytes finds that out. */
static uint64_t get_hex(const char *text, size_t digits)
{
	uint64_t value = 0;

	for (size_t i = 0; i < digits; i++)
		value = value << 4 |
			((uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10) & 15);
	return value;
}

static void write_numbers(char *out, uint32_t sequence, int64_t at_ns)
{
	put_hex(out + SEQUENCE_START, SEQUENCE_DIGITS, sequence);
	put_hex(out + AT_START, AT_DIGITS, (uint64_t)at_ns);
}

void payload_write(char *out, size_t len, uint32_t sequence, int64_t at_ns)
{
	memcpy(out, SEQUENCE, LEN(SEQUENCE));
	memcpy(out + SEQUENCE_START + SEQUENCE_DIGITS, AT, LEN(AT));
	memcpy(out + AT_START + AT_DIGITS, PAD, LEN(PAD));
	memset(out + PAD_START, 'x', len - PAD_START - LEN(END));
	memcpy(out + len - LEN(END), END, LEN(END));
	write_numbers(out, sequence, at_ns);
}

bool push_read(const char *text, size_t len, size_t payload_len, uint32_t *sequence, int64_t *at_ns)
{
	static char expected[LEN(PUSH_START) + PAYLOAD_MAX + LEN(PUSH_END)];
	static size_t expected_len;
	char *payload = expected + LEN(PUSH_START);

	if (payload_len < PAYLOAD_MIN || payload_len > PAYLOAD_MAX ||
	    len != LEN(PUSH_START) + payload_len + LEN(PUSH_END))
		return false;
	*sequence = (uint32_t)get_hex(text + LEN(PUSH_START) + SEQUENCE_START, SEQUENCE_DIGITS);
	*at_ns = (int64_t)get_hex(text + LEN(PUSH_START) + AT_START, AT_DIGITS);
	if (expected_len != len) {
		memcpy(expected, PUSH_START, LEN(PUSH_START));
		payload_write(payload, payload_len, *sequence, *at_ns);
		memcpy(payload + payload_len, PUSH_END, LEN(PUSH_END));
		expected_len = len;
	}
	write_numbers(payload, *sequence, *at_ns);
	return memcmp(text, expected, len) == 0;
}

size_t upgrade_request(char *out, size_t size, const char *target)
{
	int len = snprintf(out, size,
			   "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
			   "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
			   "Sec-WebSocket-Version: 13\r\n\r\n",
			   target);

	if (len < 0 || (size_t)len >= size)
		errx(EXIT_FAILURE, "the handshake does not fit");
	return (size_t)len;
}

bool upgrade_accepted(const char *head, size_t len)
{
	static const char status[] = "HTTP/1.1 101 ";

	return len > sizeof(status) && memcmp(head, status, LEN(status)) == 0 &&
	       memmem(head, len, ACCEPT, LEN(ACCEPT));
}

size_t stream_request(char *out, size_t size, const char *target, const char *auth, size_t auth_len)
{
	int len = snprintf(out, size,
			   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
			   "Content-Length: %zu\r\n\r\n%.*s",
			   target, auth_len, (int)auth_len, auth);

	if (len < 0 || (size_t)len >= size)
		errx(EXIT_FAILURE, "the request does not fit");
	return (size_t)len;
}

bool stream_accepted(const char *head, size_t len)
{
	static const char status[] = "HTTP/1.1 200 ";

	return len > sizeof(status) && memcmp(head, status, LEN(status)) == 0;
}

size_t frame_write(char *out, int opcode, const char *payload, size_t len)
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

size_t frame_read(const char *bytes, size_t len, struct frame *frame)
{
	const unsigned char *at = (const unsigned char *)bytes;
	size_t header = 2;

	if (len < header)
		return 0;
	if (at[0] & RESERVED || at[1] & MASKED)
		errx(EXIT_FAILURE, "a frame that no server may send");

	uint64_t payload_len = at[1];
	if (payload_len > SHORT_MAX) {
		size_t digits = payload_len == 126 ? 2 : 8;

		if (len < header + digits)
			return 0;
		payload_len = 0;
		for (size_t i = 0; i < digits; i++)
			payload_len = payload_len << 8 | at[header + i];
		header += digits;
	}
	if (len - header < payload_len)
		return 0;
	*frame = (struct frame){at[0] & 0x0f, at[0] & FINAL, bytes + header, (size_t)payload_len};
	return header + (size_t)payload_len;
}

size_t event_read(const char *bytes, size_t len, struct frame *frame)
{
	static const char data[] = "data: ";
	const char *line = memchr(bytes, '\n', len), *last = bytes + len - 1, *end = line;

	/* Not by memmem(3): with that a reader of 16 KB was three times as slow as the sender. */
	while (end && end < last && end[1] != '\n')
		end = memchr(end + 1, '\n', (size_t)(last - end));
	if (line && bytes[0] == ':') {
		*frame = (struct frame){FRAME_PONG, true, bytes, 0};
		return (size_t)(line - bytes) + 1;
	}
	if (!end || end == last)
		return 0;
	if (memcmp(bytes, data, LEN(data)) != 0)
		errx(EXIT_FAILURE, "an event that no server may send");
	bytes += LEN(data);
	*frame = (struct frame){FRAME_TEXT, true, bytes, (size_t)(line - bytes)};
	return (size_t)(end - bytes) + LEN(data) + 2;
}

/* The value of a header, up to the end of its line; NULL when there is none. */
static const char *header(const char *head, size_t head_len, const char *name)
{
	const size_t name_len = strlen(name);

	for (const char *at = head; (at = memchr(at, '\n', (size_t)(head + head_len - at)));) {
		at++;
		if ((size_t)(head + head_len - at) > name_len &&
		    strncasecmp(at, name, name_len) == 0 && at[name_len] == ':')
			return at + name_len + 1 + strspn(at + name_len + 1, " ");
	}
	return NULL;
}

bool reply_read(const char *bytes, size_t len, struct reply *reply)
{
	static const char version[] = "HTTP/1.1 ";
	const char *end = memmem(bytes, len, HEAD_END, LEN(HEAD_END));

	if (!end)
		return false;
	if (memcmp(bytes, version, LEN(version)) != 0)
		errx(EXIT_FAILURE, "no HTTP/1.1 answer");

	size_t head_len = (size_t)(end - bytes) + LEN(HEAD_END), body_len = len - head_len;
	const char *length = header(bytes, head_len, "Content-Length");
	const char *connection = header(bytes, head_len, "Connection");
	reply->status = (int)strtol(bytes + LEN(version), NULL, 10);
	reply->closes = connection && strncasecmp(connection, "close", 5) == 0;
	if (reply->status == 204)
		return body_len == 0;
	if (length)
		return body_len == strtoull(length, NULL, 10);
	if (!header(bytes, head_len, "Transfer-Encoding"))
		errx(EXIT_FAILURE, "an answer without a length");
	return body_len >= LEN(LAST_CHUNK) &&
	       memcmp(bytes + len - LEN(LAST_CHUNK), LAST_CHUNK, LEN(LAST_CHUNK)) == 0;
}
