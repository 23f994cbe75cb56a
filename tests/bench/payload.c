/*
 * Payloads, see payload.h. No state.
 */
#include "tests/bench/payload.h"

#define SEQUENCE "{\"seq\":\""
#define AT "\",\"at\":\""
#define PAD "\",\"pad\":\""
#define END "\"}"

enum {
	SEQUENCE_DIGITS = 8,
	AT_DIGITS = 16,
	SEQUENCE_START = sizeof(SEQUENCE) - 1,
	AT_START = SEQUENCE_START + SEQUENCE_DIGITS + sizeof(AT) - 1,
	PAD_START = AT_START + AT_DIGITS + sizeof(PAD) - 1,
	PUSH_START_LEN = sizeof(PAYLOAD_PUSH_START) - 1,
	PUSH_END_LEN = sizeof(PAYLOAD_PUSH_END) - 1
};

static void put_hex(char *out, size_t digits, uint64_t value)
{
	while (digits-- > 0) {
		out[digits] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
}

static bool get_hex(const char *text, size_t digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < digits; i++) {
		char c = text[i];
		bool is_digit = c >= '0' && c <= '9';

		if (!is_digit && (c < 'a' || c > 'f'))
			return false;
		*value = *value << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
	}
	return true;
}

void payload_write(char *out, size_t len, uint32_t sequence, int64_t at_ns)
{
	const size_t end_len = sizeof(END) - 1;

	memcpy(out, SEQUENCE, sizeof(SEQUENCE) - 1);
	put_hex(out + SEQUENCE_START, SEQUENCE_DIGITS, sequence);
	memcpy(out + SEQUENCE_START + SEQUENCE_DIGITS, AT, sizeof(AT) - 1);
	put_hex(out + AT_START, AT_DIGITS, (uint64_t)at_ns);
	memcpy(out + AT_START + AT_DIGITS, PAD, sizeof(PAD) - 1);
	memset(out + PAD_START, 'x', len - PAD_START - end_len);
	memcpy(out + len - end_len, END, end_len);
}

/* All between the numbers. The pad is one letter: equal to itself one byte further on. */
static bool is_intact(const char *payload, size_t len)
{
	const char *pad = payload + PAD_START;
	size_t pad_len = len - PAD_START - (sizeof(END) - 1);

	return memcmp(payload, SEQUENCE, sizeof(SEQUENCE) - 1) == 0 &&
	       memcmp(payload + SEQUENCE_START + SEQUENCE_DIGITS, AT, sizeof(AT) - 1) == 0 &&
	       memcmp(payload + AT_START + AT_DIGITS, PAD, sizeof(PAD) - 1) == 0 &&
	       (pad_len == 0 || (pad[0] == 'x' && memcmp(pad, pad + 1, pad_len - 1) == 0)) &&
	       memcmp(payload + len - (sizeof(END) - 1), END, sizeof(END) - 1) == 0;
}

bool payload_read(const char *frame, size_t len, size_t payload_len, uint32_t *sequence,
		  int64_t *at_ns)
{
	const char *payload = frame + PUSH_START_LEN;
	uint64_t number, time;

	if (payload_len < PAYLOAD_MIN || len != PUSH_START_LEN + payload_len + PUSH_END_LEN ||
	    memcmp(frame, PAYLOAD_PUSH_START, PUSH_START_LEN) != 0 ||
	    memcmp(payload + payload_len, PAYLOAD_PUSH_END, PUSH_END_LEN) != 0 ||
	    !is_intact(payload, payload_len) ||
	    !get_hex(payload + SEQUENCE_START, SEQUENCE_DIGITS, &number) ||
	    !get_hex(payload + AT_START, AT_DIGITS, &time))
		return false;
	*sequence = (uint32_t)number;
	*at_ns = (int64_t)time;
	return true;
}
