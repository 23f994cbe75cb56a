// needs: tests/bench/wire.c
/*
 * The load generator's eyes: what it takes for a delivery, and what it must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bench/wire.h"

enum { PAYLOAD_LEN = 150, PUSH_MAX = 512 };

static size_t make_push(char push[PUSH_MAX], size_t payload_len)
{
	const size_t start = sizeof(PUSH_START) - 1, end = sizeof(PUSH_END) - 1;

	memcpy(push, PUSH_START, start);
	payload_write(push + start, payload_len, 42, INT64_C(0x123456789abcdef));
	memcpy(push + start + payload_len, PUSH_END, end);
	return start + payload_len + end;
}

static void a_push_is_read_as_it_was_written(void **state)
{
	char push[PUSH_MAX];
	uint32_t sequence;
	int64_t at_ns;

	(void)state;
	for (size_t len = PAYLOAD_MIN; len <= PAYLOAD_LEN; len++) {
		size_t push_len = make_push(push, len);

		assert_true(push_read(push, push_len, len, &sequence, &at_ns));
		assert_int_equal(sequence, 42);
		assert_int_equal(at_ns, INT64_C(0x123456789abcdef));
	}
}

static void a_push_with_any_byte_changed_is_not(void **state)
{
	char push[PUSH_MAX];
	size_t len = make_push(push, PAYLOAD_LEN);
	uint32_t sequence;
	int64_t at_ns;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		push[i] ^= 0x40; /* also makes a digit none */
		assert_false(push_read(push, len, PAYLOAD_LEN, &sequence, &at_ns));
		push[i] ^= 0x40;
	}
	assert_false(push_read(push, len - 1, PAYLOAD_LEN, &sequence, &at_ns));
	assert_false(push_read(push, len, 0, &sequence, &at_ns));
}

static void a_frame_is_taken_when_it_is_whole(void **state)
{
	static const struct {
		const char *header;
		size_t header_len, payload_len;
	} frames[] = {{"\x81\x05", 2, 5},
		      {"\x81\x7e\x00\x7e", 4, 126},
		      {"\x81\x7f\0\0\0\0\0\1\0\0", 10, 65536}};
	static char bytes[70000];
	struct frame frame;

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		size_t whole = frames[i].header_len + frames[i].payload_len;

		memcpy(bytes, frames[i].header, frames[i].header_len);
		for (size_t len = 0; len < whole; len++)
			assert_int_equal(frame_read(bytes, len, &frame), 0);
		assert_int_equal(frame_read(bytes, whole + 7, &frame), whole);
		assert_int_equal(frame.opcode, FRAME_TEXT);
		assert_true(frame.is_final);
		assert_int_equal(frame.len, frames[i].payload_len);
		assert_ptr_equal(frame.payload, bytes + frames[i].header_len);
	}
}

static void a_client_frame_is_masked(void **state)
{
	char frame[300 + FRAME_HEADER_MAX], payload[300];

	(void)state;
	memset(payload, 'a', sizeof(payload));
	assert_int_equal(frame_write(frame, FRAME_PONG, payload, 5), 11);
	assert_memory_equal(frame, "\x8a\x85", 2);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(frame[6 + i] ^ frame[2 + i % 4], 'a');
	assert_int_equal(frame_write(frame, FRAME_TEXT, payload, 300), 308);
	assert_memory_equal(frame, "\x81\xfe\x01\x2c", 4);
}

static void an_answer_is_read_when_it_is_whole(void **state)
{
	static const struct {
		const char *bytes;
		int status;
		bool closes;
	} answers[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, false},
		{"HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length:0\r\n\r\n", 503, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200,
		 false},
	};
	struct reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		size_t whole = strlen(answers[i].bytes);

		for (size_t len = 0; len < whole; len++)
			assert_false(reply_read(answers[i].bytes, len, &reply));
		assert_true(reply_read(answers[i].bytes, whole, &reply));
		assert_int_equal(reply.status, answers[i].status);
		assert_int_equal(reply.closes, answers[i].closes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_push_is_read_as_it_was_written),
		cmocka_unit_test(a_push_with_any_byte_changed_is_not),
		cmocka_unit_test(a_frame_is_taken_when_it_is_whole),
		cmocka_unit_test(a_client_frame_is_masked),
		cmocka_unit_test(an_answer_is_read_when_it_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
