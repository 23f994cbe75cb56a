// needs: gateway/client/body.c
/*
 * Bodies of requests: whatever pieces one comes in, its content is the same and ends at the same
 * byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/client/body.h"
#include "shared/base/alloc.h"

enum { SIZE = 65536 };

static char content[SIZE];
static size_t content_len;

/* Takes it in pieces of that many bytes, until it is whole or wrong. */
static enum body_state take(struct body body, const char *bytes, size_t len, size_t piece)
{
	enum body_state state = BODY_INCOMPLETE;
	char part[SIZE];

	content_len = 0;
	for (size_t at = 0; at < len && state == BODY_INCOMPLETE; at += piece) {
		size_t part_len = len - at < piece ? len - at : piece;

		memcpy(part, bytes + at, part_len);
		state = body_take(&body, part, &part_len);
		memcpy(content + content_len, part, part_len);
		content_len += part_len;
	}
	return state;
}

static void expect(struct body body, const char *bytes, enum body_state state, const char *expected)
{
	for (size_t piece = 1; piece <= strlen(bytes); piece++) {
		assert_int_equal(take(body, bytes, strlen(bytes), piece), state);
		if (state == BODY_MALFORMED)
			continue;
		assert_int_equal(content_len, strlen(expected));
		assert_memory_equal(content, expected, content_len);
	}
}

static void one_with_a_length_ends_there(void **state)
{
	struct body none = body_of_length(0);
	char bytes[] = "GET / HTTP/1.1";
	size_t len = strlen(bytes);

	(void)state;
	expect(body_of_length(5), "12345", BODY_WHOLE, "12345");
	expect(body_of_length(5), "12345678", BODY_WHOLE, "12345");
	expect(body_of_length(5), "1234", BODY_INCOMPLETE, "1234");
	assert_int_equal(body_take(&none, bytes, &len), BODY_WHOLE);
	assert_int_equal(len, 0);
	assert_int_equal(body_take(&none, bytes, &len), BODY_WHOLE);
}

static void chunks_are_joined(void **state)
{
	struct body chunks = body_in_chunks();

	(void)state;
	expect(chunks, "0\r\n\r\n", BODY_WHOLE, "");
	expect(chunks, "3\r\nabc\r\n0\r\n\r\n", BODY_WHOLE, "abc");
	expect(chunks, "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nmore", BODY_WHOLE,
	       "abc0123456789");
	expect(chunks, "a\r\n\r\n\r\n0\r\n\r\nx\r\n0\r\n\r\n", BODY_WHOLE, "\r\n\r\n0\r\n\r\nx");
	expect(chunks, "1;x=\"y\";z\r\na\r\n0;end\r\nA: b\r\n:\r\n\r\n", BODY_WHOLE, "a");
	expect(chunks, "3\r\nabc\r\n0\r\n", BODY_INCOMPLETE, "abc");
	expect(chunks, "3\r\nabc\r\n0\r\nTrailer: x\r\n", BODY_INCOMPLETE, "abc");
	expect(chunks, "ffffffff\r\nabc", BODY_INCOMPLETE, "abc");
}

static void broken_framing_is_malformed(void **state)
{
	static const char *const broken[] = {
		"\r\n",
		"\n",
		"g\r\n",
		"-1\r\n",
		" 1\r\na\r\n",
		"1 \r\na\r\n",
		"0x1\r\na\r\n",
		";x\r\na\r\n",
		"1\na\r\n0\r\n\r\n",
		"1\r\nab\r\n",
		"1\r\nab\n0\r\n\r\n",
		"1\r\na\n0\r\n\r\n",
		"1\r\na\r0\r\n\r\n",
		"1;x\ny\r\na\r\n",
		"1;\r\r\n",
		"0\r\n\n",
		"0\r\n\r\r\n",
		"0\r\nA\n\r\n",
		"0\r\nA\r\r\n",
		"000000001\r\na\r\n",
		"100000000\r\n",
		"1\r\na\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect(body_in_chunks(), broken[i], BODY_MALFORMED, NULL);
}

static void what_was_malformed_stays_so(void **state)
{
	struct body body = body_in_chunks();
	char bytes[] = "x0\r\n\r\n";
	size_t len = 1;

	(void)state;
	assert_int_equal(body_take(&body, bytes, &len), BODY_MALFORMED);
	len = 5;
	assert_int_equal(body_take(&body, bytes + 1, &len), BODY_MALFORMED);
	assert_int_equal(len, 0);
}

/* 4,096 chunks of a byte are fine, extensions and trailers without end are not. */
static void framing_has_a_bound(void **state)
{
	static char bytes[2 * SIZE];
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 4096; i++, len += 6)
		memcpy(bytes + len, "1\r\nx\r\n", 6);
	memcpy(bytes + len, "0\r\n\r\n", 5);
	assert_int_equal(take(body_in_chunks(), bytes, len + 5, 1000), BODY_WHOLE);
	assert_int_equal(content_len, 4096);
	for (int trailer = 0; trailer < 2; trailer++) {
		len = (size_t)snprintf(bytes, sizeof(bytes), trailer ? "0\r\n" : "1;");
		memset(bytes + len, 'x', SIZE);
		assert_int_equal(take(body_in_chunks(), bytes, SIZE, 1000), BODY_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_with_a_length_ends_there),
		cmocka_unit_test(chunks_are_joined),
		cmocka_unit_test(broken_framing_is_malformed),
		cmocka_unit_test(what_was_malformed_stays_so),
		cmocka_unit_test(framing_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
