/*
 * The frames of the contract (docs/clients.md) that the server sends. They are written into memory
 * of just the promised size, so that the build with sanitizers finds a byte too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "shared/contract/message.h"
#include "shared/base/alloc.h"
#include "tests/unit/numbers.h"

/* Word for word from the contract (docs/clients.md). */
static void what_the_server_says_is_what_the_contract_says(void **state)
{
	(void)state;
	assert_string_equal(MESSAGE_AUTH_OK, "{\"type\":\"auth_ok\"}");
	assert_string_equal(MESSAGE_AUTH_REQUIRED,
			    "{\"type\":\"error\",\"code\":\"auth_required\",\"message\":"
			    "\"first frame must be {type:auth,token:...}\"}");
	assert_string_equal(MESSAGE_UNAUTHORIZED,
			    "{\"type\":\"error\",\"code\":\"unauthorized\",\"message\":"
			    "\"invalid or expired token\"}");
	assert_string_equal(MESSAGE_AUTH_EXPIRED,
			    "{\"type\":\"error\",\"code\":\"auth_expired\",\"message\":"
			    "\"token expired\"}");
	assert_string_equal(MESSAGE_TOPIC_UNREGISTERED,
			    "{\"type\":\"error\",\"code\":\"topic_unregistered\",\"message\":"
			    "\"topic unregistered\"}");
}

/* Writes into memory of just the promised size. */
static void assert_resumed(int64_t last_event_id, bool recovered, const char *expected)
{
	char *out = xreallocarray(NULL, MESSAGE_RESUMED_SIZE, 1);
	size_t len = message_resumed_write(out, number_position(last_event_id), recovered);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, len);
	free(out);
}

static void the_answer_to_a_resume_says_the_position_and_whether_all_is_there(void **state)
{
	(void)state;
	assert_resumed(0, true, "{\"type\":\"auth_ok\",\"last_event_id\":0,\"recovered\":true}");
	assert_resumed(1234, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":1234,\"recovered\":false}");
	assert_resumed(INT64_MAX, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":9223372036854775807,"
		       "\"recovered\":false}");
	assert_resumed(INT64_MIN, false,
		       "{\"type\":\"auth_ok\",\"last_event_id\":-9223372036854775808,"
		       "\"recovered\":false}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_server_says_is_what_the_contract_says),
		cmocka_unit_test(the_answer_to_a_resume_says_the_position_and_whether_all_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
