// needs: gateway/client/message.c
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

#include "gateway/client/message.h"
#include "shared/base/alloc.h"
#include "shared/base/version.h"

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
	size_t len = message_resumed_write(out, last_event_id, recovered);

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

/* Writes into memory of just the promised size. */
static void assert_status(const struct gauges *status, const char *expected)
{
	char *out = xreallocarray(NULL, MESSAGE_STATUS_SIZE, 1);
	size_t len = message_status_write(out, status);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(out, expected, len);
	free(out);
}

static void a_status_frame_has_its_members_in_the_contracts_order(void **state)
{
	const struct gauges status = {.uptime_s = 862,
				      .registered_topics = 1,
				      .active_topics = 2,
				      .connected_clients = 3,
				      .connected_sockets = 4,
				      .cluster_nodes = -1};

	(void)state;
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"14m22s\",\"uptime_seconds\":862,\"registered_topics\":1,"
		"\"active_topics\":2,\"connected_clients\":3,\"connected_sockets\":4,"
		"\"cluster_nodes\":-1}}");
}

static void the_largest_numbers_fit_and_time_is_never_negative(void **state)
{
	struct gauges status = {.uptime_s = INT64_MAX,
				.registered_topics = INT64_MIN,
				.active_topics = INT64_MIN,
				.connected_clients = INT64_MIN,
				.connected_sockets = INT64_MIN,
				.cluster_nodes = INT64_MIN};

	(void)state;
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"2562047788015215h30m7s\",\"uptime_seconds\":9223372036854775807,"
		"\"registered_topics\":-9223372036854775808,"
		"\"active_topics\":-9223372036854775808,"
		"\"connected_clients\":-9223372036854775808,"
		"\"connected_sockets\":-9223372036854775808,"
		"\"cluster_nodes\":-9223372036854775808}}");
	status = (struct gauges){.uptime_s = -3600};
	assert_status(
		&status,
		"{\"type\":\"status\",\"payload\":{\"status\":\"ok\",\"version\":\"" WORKER_VERSION
		"\",\"uptime\":\"0s\",\"uptime_seconds\":0,\"registered_topics\":0,"
		"\"active_topics\":0,\"connected_clients\":0,\"connected_sockets\":0,"
		"\"cluster_nodes\":0}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_server_says_is_what_the_contract_says),
		cmocka_unit_test(the_answer_to_a_resume_says_the_position_and_whether_all_is_there),
		cmocka_unit_test(a_status_frame_has_its_members_in_the_contracts_order),
		cmocka_unit_test(the_largest_numbers_fit_and_time_is_never_negative),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
