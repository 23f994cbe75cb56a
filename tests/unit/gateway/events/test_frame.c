// needs: gateway/events/frame.c
/*
 * Shared frames. A frame freed too early or never is found by the build with sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/events/frame.h"
#include "shared/base/alloc.h"
#include "shared/base/version.h"
#include "tests/unit/numbers.h"

static void a_new_frame_has_its_room_and_one_reference(void **state)
{
	struct frame *frame = frame_new(1000);

	(void)state;
	assert_int_equal(frame->len, 1000);
	assert_int_equal(frame->references, 1);
	memset(frame->bytes, 'x', frame->len);
	frame_release(frame);
}

static void a_new_frame_waits_nowhere_and_may_not_be_dropped(void **state)
{
	struct frame *frames[] = {frame_new(10), frame_of_text("text")};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(frames[i]->waiting, 0);
		assert_false(frames[i]->is_push);
		frame_release(frames[i]);
	}
}

static void a_frame_of_text_holds_its_bytes_without_the_nul(void **state)
{
	struct frame *frame = frame_of_text("{\"type\":\"auth_ok\"}");
	struct frame *empty = frame_of_text("");

	(void)state;
	assert_int_equal(frame->len, 18);
	assert_memory_equal(frame->bytes, "{\"type\":\"auth_ok\"}", 18);
	assert_int_equal(empty->len, 0);
	frame_release(frame);
	frame_release(empty);
}

static void assert_wire(size_t len, const char *header, size_t header_len)
{
	struct frame *frame = frame_new(len);
	size_t wire_len;

	memset(frame->bytes, 'x', len);
	for (int turn = 0; turn < 2; turn++) { /* it is asked for by each who gets it */
		const char *wire = frame_wire(frame, &wire_len);

		assert_int_equal(wire_len, header_len + len);
		assert_memory_equal(wire, header, header_len);
		assert_ptr_equal(wire + header_len, frame->bytes);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(frame->bytes[i], 'x');
	}
	frame_release(frame);
}

static void on_the_wire_it_has_the_shortest_header_of_an_unmasked_text(void **state)
{
	(void)state;
	assert_wire(0, "\x81\x00", 2);
	assert_wire(125, "\x81\x7D", 2);
	assert_wire(126, "\x81\x7E\x00\x7E", 4);
	assert_wire(65535, "\x81\x7E\xFF\xFF", 4);
	assert_wire(65536, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00", 10);
	assert_wire(1048600, "\x81\x7F\x00\x00\x00\x00\x00\x10\x00\x18", 10);
}

static void it_lives_until_the_last_one_releases_it(void **state)
{
	struct frame *frame = frame_of_text("shared");

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		assert_ptr_equal(frame_hold(frame), frame);
	assert_int_equal(frame->references, 1001);
	for (size_t i = 0; i < 1000; i++) {
		frame_release(frame);
		assert_memory_equal(frame->bytes, "shared", 6);
	}
	assert_int_equal(frame->references, 1);
	frame_release(frame);
}

static void releasing_null_does_nothing(void **state)
{
	(void)state;
	frame_release(NULL);
}

static void assert_push(int64_t id, const char *head, const char *payload, size_t payload_len)
{
	size_t head_len = strlen(head);
	struct frame *frame = frame_of_push(number_id(id), payload, payload_len);

	assert_true(frame->is_push);
	assert_int_equal(frame->len, head_len + payload_len + 1);
	assert_memory_equal(frame->bytes, head, head_len);
	assert_memory_equal(frame->bytes + head_len, payload, payload_len);
	assert_int_equal(frame->bytes[frame->len - 1], '}');
	if (id == 0) {
		size_t len;

		assert_memory_equal(frame_push_payload(frame, &len), payload, payload_len);
		assert_int_equal(len, payload_len);
	}
	frame_release(frame);
}

#define PLAIN "{\"type\":\"push\",\"payload\":"

static void a_push_holds_the_payloads_bytes_unchanged(void **state)
{
	enum { LARGE = 1024 * 1024 };
	static const char odd[] = "{\"a\" : [12345678901234567890, 1.10,\t\"\\u2028\\/\xC3\xA9\"]}";
	char *large = xreallocarray(NULL, LARGE, 1);

	(void)state;
	assert_push(0, PLAIN, "1", 1);
	assert_push(0, PLAIN, "null", 4);
	assert_push(0, PLAIN, odd, strlen(odd));
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)i;
	assert_push(0, PLAIN, large, LARGE);
	assert_push(7, "{\"type\":\"push\",\"id\":7,\"payload\":", large, LARGE);
	free(large);
}

static void a_push_has_its_id_in_front_of_its_payload(void **state)
{
	(void)state;
	assert_push(1, "{\"type\":\"push\",\"id\":1,\"payload\":", "{\"id\":2}", 8);
	assert_push(INT64_C(1760000000000001),
		    "{\"type\":\"push\",\"id\":1760000000000001,\"payload\":", "1", 1);
	assert_push((INT64_C(1) << 53) - 1,
		    "{\"type\":\"push\",\"id\":9007199254740991,\"payload\":", "1", 1);
}

static void the_longest_id_fits_into_the_room(void **state)
{
	(void)state;
	assert_push(INT64_MAX, "{\"type\":\"push\",\"id\":9223372036854775807,\"payload\":", "", 0);
}

static void assert_event(int64_t id, const char *payload, const char *expected)
{
	struct frame *text = frame_of_push(number_id(id), payload, strlen(payload));
	struct frame *event = frame_of_event(text);
	size_t len;

	frame_release(text);
	assert_true(event->is_push);
	assert_ptr_equal(frame_wire(event, &len), event->bytes);
	assert_int_equal(len, event->len);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(event->bytes, expected, len);
	frame_release(event);
}

#define EVENT "data: {\"type\":\"push\",\"payload\":"
#define EVENT_7 "data: {\"type\":\"push\",\"id\":7,\"payload\":"

/* Each may occur between the tokens of JSON, alone and in any sequence. */
static void each_line_break_of_a_payload_begins_another_line_of_its_event(void **state)
{
	(void)state;
	assert_event(0, "1", EVENT "1}\n\n");
	assert_event(7, "1", EVENT_7 "1}\nid: 7\n\n");
	assert_event(INT64_MAX, "1",
		     "data: {\"type\":\"push\",\"id\":9223372036854775807,\"payload\":1}\n"
		     "id: 9223372036854775807\n\n");
	assert_event(0, "[1,\n2]", EVENT "[1,\ndata: 2]}\n\n");
	assert_event(0, "[1,\r2]", EVENT "[1,\ndata: 2]}\n\n");
	assert_event(7, "[1,\r\n2]", EVENT_7 "[1,\ndata: 2]}\nid: 7\n\n");
	assert_event(0, "[\n\n]", EVENT "[\ndata: \ndata: ]}\n\n");
	assert_event(0, "[\r\r]", EVENT "[\ndata: \ndata: ]}\n\n");
	assert_event(0, "[\n\r]", EVENT "[\ndata: \ndata: ]}\n\n");
	assert_event(0, "[\r\n\r\n]", EVENT "[\ndata: \ndata: ]}\n\n");
	assert_event(0, "[\r\r\n]", EVENT "[\ndata: \ndata: ]}\n\n");
	assert_event(0, "[]\r", EVENT "[]\ndata: }\n\n");
	assert_event(0, "\"\\n\\r\"", EVENT "\"\\n\\r\"}\n\n");
}

static void assert_status(const struct gauges *status, const char *expected)
{
	struct frame *frame = frame_of_status(status);

	assert_int_equal(frame->len, strlen(expected));
	assert_memory_equal(frame->bytes, expected, frame->len);
	assert_false(frame->is_push);
	frame_release(frame);
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
		cmocka_unit_test(a_new_frame_has_its_room_and_one_reference),
		cmocka_unit_test(a_new_frame_waits_nowhere_and_may_not_be_dropped),
		cmocka_unit_test(a_frame_of_text_holds_its_bytes_without_the_nul),
		cmocka_unit_test(on_the_wire_it_has_the_shortest_header_of_an_unmasked_text),
		cmocka_unit_test(it_lives_until_the_last_one_releases_it),
		cmocka_unit_test(releasing_null_does_nothing),
		cmocka_unit_test(a_push_holds_the_payloads_bytes_unchanged),
		cmocka_unit_test(a_push_has_its_id_in_front_of_its_payload),
		cmocka_unit_test(the_longest_id_fits_into_the_room),
		cmocka_unit_test(each_line_break_of_a_payload_begins_another_line_of_its_event),
		cmocka_unit_test(a_status_frame_has_its_members_in_the_contracts_order),
		cmocka_unit_test(the_largest_numbers_fit_and_time_is_never_negative),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
