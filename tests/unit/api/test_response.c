// needs: api/response.c
/*
 * Answers as bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/response.h"
#include "shared/base/alloc.h"

static int make(void **state)
{
	*state = xcalloc(1, sizeof(struct response));
	return 0;
}

static int unmake(void **state)
{
	struct response *response = *state;

	free(response->bytes);
	free(response);
	return 0;
}

static void assert_answer(const struct response *response, const char *expected)
{
	assert_int_equal(response->len, strlen(expected));
	assert_memory_equal(response->bytes, expected, response->len);
}

static void an_error_is_one_line_of_text(void **state)
{
	const struct response *response = *state;

	response_error(*state, 404, "topic not %s", "registered");
	assert_int_equal(response->status, 404);
	assert_answer(*state, "Status: 404 Not Found\r\n"
			      "Content-Type: text/plain; charset=utf-8\r\n"
			      "Content-Length: 21\r\n"
			      "X-Content-Type-Options: nosniff\r\n"
			      "\r\n"
			      "topic not registered\n");
}

static void a_wrong_method_says_which_is_right(void **state)
{
	struct response *response = *state;

	response->allowed = "POST";
	response_error(response, 405, "method not allowed");
	assert_answer(*state, "Status: 405 Method Not Allowed\r\n"
			      "Content-Type: text/plain; charset=utf-8\r\n"
			      "Content-Length: 19\r\n"
			      "X-Content-Type-Options: nosniff\r\n"
			      "Allow: POST\r\n"
			      "\r\n"
			      "method not allowed\n");
}

static void an_unavailable_service_says_when_to_come_back(void **state)
{
	response_error(*state, 503, "unavailable: disk is full");
	assert_answer(*state, "Status: 503 Service Unavailable\r\n"
			      "Content-Type: text/plain; charset=utf-8\r\n"
			      "Content-Length: 26\r\n"
			      "X-Content-Type-Options: nosniff\r\n"
			      "Retry-After: 1\r\n"
			      "\r\n"
			      "unavailable: disk is full\n");
}

static void a_published_event_has_its_id_as_json(void **state)
{
	response_number(*state, "id", INT64_C(1790000000000001));
	assert_answer(*state, "Status: 200 OK\r\n"
			      "Content-Type: application/json\r\n"
			      "Content-Length: 23\r\n"
			      "X-Content-Type-Options: nosniff\r\n"
			      "\r\n"
			      "{\"id\":1790000000000001}");
}

static void what_is_done_has_no_body(void **state)
{
	response_body(*state, 200, RESPONSE_TEXT, "", 0);
	assert_answer(*state, "Status: 200 OK\r\n"
			      "Content-Type: text/plain; charset=utf-8\r\n"
			      "Content-Length: 0\r\n"
			      "X-Content-Type-Options: nosniff\r\n"
			      "\r\n");
}

static void a_line_that_is_too_long_is_cut_and_still_ends(void **state)
{
	const struct response *response = *state;
	char long_text[2000];

	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	response_error(*state, 400, "%s", long_text);
	assert_memory_equal(response->bytes + response->len - 2, "x\n", 2);
	assert_null(memchr(response->bytes, '\0', response->len));
	assert_true(response->len < 1000);
}

static void the_buffer_is_used_again_for_shorter_and_longer_answers(void **state)
{
	enum { LONG = 100000 };
	const struct response *response = *state;
	char *json = xcalloc(1, LONG);

	memset(json, '1', LONG);
	response_body(*state, 200, RESPONSE_JSON, json, LONG);
	assert_memory_equal(response->bytes + response->len - LONG, json, LONG);
	free(json);
	what_is_done_has_no_body(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_error_is_one_line_of_text, make, unmake),
		cmocka_unit_test_setup_teardown(a_wrong_method_says_which_is_right, make, unmake),
		cmocka_unit_test_setup_teardown(an_unavailable_service_says_when_to_come_back, make,
						unmake),
		cmocka_unit_test_setup_teardown(a_published_event_has_its_id_as_json, make, unmake),
		cmocka_unit_test_setup_teardown(what_is_done_has_no_body, make, unmake),
		cmocka_unit_test_setup_teardown(a_line_that_is_too_long_is_cut_and_still_ends, make,
						unmake),
		cmocka_unit_test_setup_teardown(
			the_buffer_is_used_again_for_shorter_and_longer_answers, make, unmake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
