// needs: gateway/door/handshake.c gateway/door/refusals.c gateway/client/answer.c
// needs: gateway/client/body.c
/*
 * Requests that open a WebSocket, good and bad: what is read, in which order it is judged, and what
 * libwebsockets gets to see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/client/answer.h"
#include "gateway/door/handshake.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define HOST "Host: example.org\r\n"
#define GOOD "GET /worker/ws?topic=a HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"

static struct handshake handshake;
static char topic[TOPIC_MAX_BYTES];
static size_t topic_len;

static enum handshake_state parse(const char *text)
{
	return handshake_parse(text, strlen(text), &handshake);
}

/* The status of the refusal, 101 for none, 0 for a malformed request. */
static int judge(const char *text)
{
	const struct refusal *refusal;

	if (parse(text) != HANDSHAKE_WHOLE)
		return 0;
	refusal = handshake_topic(&handshake, topic, &topic_len);
	if (!refusal)
		refusal = handshake_upgrade(&handshake);
	return refusal ? refusal->status : 101;
}

static int judge_target(const char *target)
{
	char text[HANDSHAKE_MAX_BYTES];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n", target);
	return judge(text);
}

static int judge_headers(const char *headers)
{
	char text[HANDSHAKE_MAX_BYTES];

	snprintf(text, sizeof(text), "GET /ws?topic=a HTTP/1.1\r\n%s\r\n", headers);
	return judge(text);
}

static void a_good_request_passes(void **state)
{
	(void)state;
	assert_int_equal(judge(GOOD), 101);
	assert_int_equal(handshake.head_len, strlen(GOOD));
	assert_int_equal(topic_len, 1);
	assert_memory_equal(topic, "a", 1);
	assert_int_equal(judge_headers("HOST: x\r\nupGRADE: h2c, WebSocket\r\n"
				       "connection: keep-alive , upgrade\r\n" KEY VERSION
				       "Sec-WebSocket-Protocol: whatever, else\r\n"),
			 101);
}

static void every_shorter_piece_is_incomplete(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(GOOD); len++)
		assert_int_equal(handshake_parse(GOOD, len, &handshake), HANDSHAKE_INCOMPLETE);
	assert_int_equal(parse(GOOD "\x81\x00 more"), HANDSHAKE_WHOLE);
	assert_int_equal(handshake.head_len, strlen(GOOD));
}

static void the_path_ends_in_ws_after_any_prefix(void **state)
{
	(void)state;
	assert_int_equal(judge_target("/ws?topic=a"), 101);
	assert_int_equal(judge_target("/any/prefix/ws?topic=a"), 101);
	assert_int_equal(judge_target("/ws/?topic=a"), 404);
	assert_int_equal(judge_target("/wsx?topic=a"), 404);
	assert_int_equal(judge_target("/xws?topic=a"), 404);
	assert_int_equal(judge_target("/?topic=a"), 404);
	assert_int_equal(judge_target("/ws"), 400);
	assert_string_equal(handshake_topic(&handshake, topic, &topic_len)->text, "missing topic");
	assert_int_equal(judge_target("/ws?topic="), 400);
	assert_int_equal(judge_target("/ws?topics=a&atopic=b"), 400);
}

static void a_topic_is_decoded_to_its_exact_bytes(void **state)
{
	(void)state;
	assert_int_equal(judge_target("/ws?x=1&topic=a%20b%2Fc%26%3b%25+d;e=f/../g&topic=z"), 101);
	assert_int_equal(topic_len, strlen("a b/c&;% d;e=f/../g"));
	assert_memory_equal(topic, "a b/c&;% d;e=f/../g", topic_len);
	assert_int_equal(judge_target("/ws?topic=%zz"), 400);
	assert_int_equal(judge_target("/ws?topic=a%"), 400);
	/* These can never have been registered. */
	assert_int_equal(judge_target("/ws?topic=a%00"), 404);
	assert_int_equal(judge_target("/ws?topic=%ff"), 404);
	assert_int_equal(judge_target("/ws?topic=%0a"), 404);

	char target[1024] = "/ws?topic=";
	size_t len = strlen(target);
	memset(target + len, 'x', TOPIC_MAX_BYTES);
	assert_int_equal(judge_target(target), 101);
	target[len + TOPIC_MAX_BYTES] = 'x';
	assert_int_equal(judge_target(target), 404);
}

static void what_is_no_upgrade_is_426(void **state)
{
	(void)state;
	assert_int_equal(judge_headers(HOST), 426);
	assert_int_equal(judge_headers(HOST "Upgrade: websocket\r\n" KEY VERSION), 426);
	assert_int_equal(judge_headers(HOST "Connection: Upgrade\r\n" KEY VERSION), 426);
	assert_int_equal(judge_headers(HOST
				       "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
				       "HTTP2-Settings: AAMAAABk\r\n"),
			 426);
	assert_int_equal(judge("POST /ws?topic=a HTTP/1.1\r\n" HOST UPGRADE KEY VERSION "\r\n"),
			 426);
	assert_int_equal(judge("GET /ws?topic=a HTTP/1.0\r\n" HOST UPGRADE KEY VERSION "\r\n"),
			 426);
	assert_int_equal(judge_headers(HOST UPGRADE KEY), 426);
	assert_int_equal(judge_headers(HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n"), 426);
}

static void an_upgrade_with_a_wrong_header_is_400(void **state)
{
	(void)state;
	assert_int_equal(judge_headers(HOST UPGRADE VERSION), 400);
	assert_int_equal(judge_headers(HOST UPGRADE VERSION "Sec-WebSocket-Key: short\r\n"), 400);
	assert_int_equal(judge_headers(HOST UPGRADE VERSION
				       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==\r\n"),
			 400);
	assert_int_equal(judge_headers(UPGRADE KEY VERSION), 400);
	assert_int_equal(judge_headers(HOST HOST UPGRADE KEY VERSION), 400);
	assert_int_equal(judge_headers(HOST UPGRADE KEY VERSION "Content-Length: 5\r\n"), 400);
	assert_int_equal(judge_headers(HOST UPGRADE KEY VERSION "Content-Length: 0\r\n"), 101);
	assert_int_equal(judge_headers(HOST UPGRADE KEY VERSION "Transfer-Encoding: chunked\r\n"),
			 400);
}

static void malformed_http_is_told_from_the_rest(void **state)
{
	(void)state;
	const char *bad[] = {
		"\r\n\r\n",
		"GET /ws?topic=a\r\n\r\n",
		"GET  /ws?topic=a HTTP/1.1\r\n\r\n",
		"GET /ws?topic=a HTTP/2.0\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1 \r\n\r\n",
		"G(T /ws?topic=a HTTP/1.1\r\n\r\n",
		"GET /ws?topic=\xC3\xA4 HTTP/1.1\r\n\r\n",
		"GET /ws?topic=a\x01 HTTP/1.1\r\n\r\n",
		"GET /ws?topic=a#b HTTP/1.1\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\n\n",
		"GET /ws?topic=a HTTP/1.1\r\nHost x\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\r\nHost : x\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\r\nHost: x\ry\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\r\n: x\r\n\r\n",
		"GET /ws?topic=a HTTP/1.1\r\n" KEY KEY "\r\n",
		"GET /ws?topic=a HTTP/1.1\r\n" VERSION VERSION "\r\n",
		"GET /ws?topic=a HTTP/1.1\r\nOrigin: a\r\nOrigin: b\r\n\r\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i]) != HANDSHAKE_MALFORMED)
			fail_msg("taken: %s", bad[i]);
	const char nul[] = "GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n";
	assert_int_equal(handshake_parse(nul, sizeof(nul) - 1, &handshake), HANDSHAKE_MALFORMED);
}

static void forwarding_headers_are_joined_and_their_end_is_kept(void **state)
{
	(void)state;
	char text[HANDSHAKE_MAX_BYTES], many[1200];

	parse("GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2,  "
	      "192.0.2.3\r\n"
	      "\r\n");
	assert_int_equal(handshake.forwarded_len, strlen("192.0.2.1,192.0.2.2,  192.0.2.3"));
	assert_memory_equal(handshake.forwarded_for, "192.0.2.1,192.0.2.2,  192.0.2.3",
			    handshake.forwarded_len);

	memset(many, 'x', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	snprintf(text, sizeof(text),
		 "GET / HTTP/1.1\r\nX-Forwarded-For: 1\r\nX-Forwarded-For: %s,2\r\n"
		 "X-Forwarded-For: 3\r\n\r\n",
		 many);
	assert_int_equal(parse(text), HANDSHAKE_WHOLE);
	assert_true(handshake.forwarded_len <= HANDSHAKE_FORWARDED_MAX);
	assert_int_equal(handshake.forwarded_len, 3); /* the one cut through is gone */
	assert_memory_equal(handshake.forwarded_for, "2,3", 3);
}

static void what_is_handed_on_has_nothing_of_the_client_but_its_key(void **state)
{
	(void)state;
	char out[HANDSHAKE_CANONICAL_SIZE];
	struct handshake again;

	assert_int_equal(judge("GET /x/ws?topic=a%0d HTTP/1.1\r\n" HOST UPGRADE KEY VERSION
			       "Sec-WebSocket-Extensions: permessage-deflate\r\n"
			       "Sec-WebSocket-Protocol: x\r\n\r\n"),
			 404);
	size_t len = handshake_canonical(&handshake, out);
	assert_int_equal(handshake_parse(out, len, &again), HANDSHAKE_WHOLE);
	assert_null(handshake_upgrade(&again));
	assert_int_equal(again.key.len, handshake.key.len);
	assert_memory_equal(again.key.at, handshake.key.at, again.key.len);
	out[len] = '\0';
	assert_null(strstr(out, "xtensions"));
	assert_null(strstr(out, "rotocol"));
}

/* NULL: a body in chunks, or one of that many bytes. */
static void assert_body(const char *headers, const struct refusal *refusal, bool is_chunked,
			unsigned len)
{
	char request[1024];
	struct body body, expected = is_chunked ? body_in_chunks() : body_of_length(len);
	int request_len = snprintf(request, sizeof(request),
				   "POST /stream?topic=t HTTP/1.1\r\n%s\r\n", headers);
	enum handshake_state parsed = handshake_parse(request, (size_t)request_len, &handshake);

	if (parsed == HANDSHAKE_MALFORMED) {
		assert_ptr_equal(refusal, &refusal_malformed);
		return;
	}
	assert_int_equal(parsed, HANDSHAKE_WHOLE);
	assert_ptr_equal(handshake_body(&handshake, &body), refusal);
	if (!refusal)
		assert_memory_equal(&body, &expected, sizeof(body));
}

static void a_stream_says_once_what_body_it_has(void **state)
{
	(void)state;
	assert_body(HOST, NULL, false, 0);
	assert_body(HOST "Content-Length: 0\r\n", NULL, false, 0);
	assert_body(HOST "Content-Length: 4096\r\n", NULL, false, 4096);
	assert_body(HOST "Content-Length: 0004096\r\n", NULL, false, 4096);
	assert_body(HOST "Content-Length: 4097\r\n", &refusal_body_too_large, false, 0);
	assert_body(HOST "Content-Length: 99999999999999999999\r\n", &refusal_body_too_large, false,
		    0);
	assert_body(HOST "Transfer-Encoding: Chunked\r\n", NULL, true, 0);
	static const char *const malformed[] = {
		"",
		HOST "Host: x\r\n",
		HOST "Content-Length: \r\n",
		HOST "Content-Length: -1\r\n",
		HOST "Content-Length: +1\r\n",
		HOST "Content-Length: 1, 1\r\n",
		HOST "Content-Length: 1\r\nContent-Length: 1\r\n",
		HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
		HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		HOST "Transfer-Encoding: gzip, chunked\r\n",
		HOST "Transfer-Encoding: \r\n",
	};
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		assert_body(malformed[i], &refusal_malformed, false, 0);
}

static size_t write_answer(const struct refusal *refusal, char out[ANSWER_SIZE])
{
	return answer_write(out, refusal->status, refusal->text, "", true);
}

static void a_refusal_is_a_whole_http_response(void **state)
{
	(void)state;
	char out[ANSWER_SIZE];
	size_t len = write_answer(&refusal_not_registered, out);

	out[len] = '\0';
	assert_string_equal(out, "HTTP/1.1 404 Not Found\r\n"
				 "Content-Type: text/plain; charset=utf-8\r\n"
				 "Content-Length: 21\r\n"
				 "X-Content-Type-Options: nosniff\r\n"
				 "Connection: close\r\n\r\n"
				 "topic not registered\n");
	judge_headers(HOST);
	len = write_answer(handshake_upgrade(&handshake), out);
	out[len] = '\0';
	assert_non_null(strstr(out, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
}

static void each_limit_has_an_answer_and_a_full_house_says_when_to_come_again(void **state)
{
	static const struct {
		const struct refusal *refusal;
		const char *line, *text;
		bool retry;
	} answers[] = {
		{&refusal_origin, "403 Forbidden", "origin not allowed", false},
		{&refusal_timeout, "408 Request Timeout", "request timeout", false},
		{&refusal_address_full, "429 Too Many Requests",
		 "too many connections from this address", true},
		{&refusal_full, "503 Service Unavailable", "too many connections", true},
		{&refusal_pending_full, "503 Service Unavailable",
		 "too many connections without authentication", true},
		{&refusal_unavailable, "503 Service Unavailable", "unavailable: database error",
		 true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		char out[ANSWER_SIZE], expected[512];
		size_t len = write_answer(answers[i].refusal, out);

		snprintf(expected, sizeof(expected),
			 "HTTP/1.1 %s\r\n"
			 "Content-Type: text/plain; charset=utf-8\r\n"
			 "Content-Length: %zu\r\n"
			 "X-Content-Type-Options: nosniff\r\n"
			 "Connection: close\r\n%s\r\n%s\n",
			 answers[i].line, strlen(answers[i].text) + 1,
			 answers[i].retry ? "Retry-After: 1\r\n" : "", answers[i].text);
		out[len] = '\0';
		assert_string_equal(out, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_request_passes),
		cmocka_unit_test(every_shorter_piece_is_incomplete),
		cmocka_unit_test(the_path_ends_in_ws_after_any_prefix),
		cmocka_unit_test(a_topic_is_decoded_to_its_exact_bytes),
		cmocka_unit_test(what_is_no_upgrade_is_426),
		cmocka_unit_test(an_upgrade_with_a_wrong_header_is_400),
		cmocka_unit_test(malformed_http_is_told_from_the_rest),
		cmocka_unit_test(a_stream_says_once_what_body_it_has),
		cmocka_unit_test(forwarding_headers_are_joined_and_their_end_is_kept),
		cmocka_unit_test(what_is_handed_on_has_nothing_of_the_client_but_its_key),
		cmocka_unit_test(a_refusal_is_a_whole_http_response),
		cmocka_unit_test(each_limit_has_an_answer_and_a_full_house_says_when_to_come_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
