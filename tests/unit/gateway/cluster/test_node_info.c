// needs: gateway/cluster/envelope.c gateway/cluster/node_info.c
/* What nodes say of themselves: ours reads back what it writes, and takes nothing that is odd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/cluster/node_info.h"

#define ID "0123456789abcdef"
#define TIMES "\"started_at\":\"2026-11-27T10:00:00Z\",\"seen_at\":\"2026-11-27T10:00:05Z\""

static const int64_t ten_o_clock_ms = 1795773600000;
static struct node_info info;

static bool reads(const char *text)
{
	return node_info_read((struct slice){ID, strlen(ID)}, (struct slice){text, strlen(text)},
			      &info);
}

static void what_is_written_is_read_the_same(void **state)
{
	static const struct node_info written = {
		.name = "log-1 \"a\\b\" \xC3\xA4",
		.version = "0.1.0",
		.started_ms = ten_o_clock_ms,
		.seen_ms = ten_o_clock_ms + 3605000,
		.topics = 1,
		.clients = 2,
		.sockets = 3,
		.is_alive = true,
	};
	char text[NODE_INFO_MAX];

	(void)state;
	size_t len = node_info_write(&written, ID, text);
	assert_int_equal(len, strlen(text));
	assert_string_equal(text, "{\"id\":\"" ID "\",\"name\":\"log-1 \\\"a\\\\b\\\" \xC3\xA4\","
				  "\"version\":\"0.1.0\",\"started_at\":\"2026-11-27T10:00:00Z\","
				  "\"seen_at\":\"2026-11-27T11:00:05Z\",\"active_topics\":1,"
				  "\"connected_clients\":2,\"connected_sockets\":3,\"alive\":true,"
				  "\"uptime\":\"1h0m5s\",\"uptime_seconds\":3605}");
	assert_true(reads(text));
	assert_memory_equal(&info, &written, sizeof(info));
}

static void times_are_read_as_go_writes_them(void **state)
{
	static const struct {
		const char *text;
		int64_t after_ms; /* -1: refused */
	} times[] = {
		{"2026-11-27T10:00:00Z", 0},
		{"2026-11-27T10:00:07.123456789Z", 7000},
		{"2026-11-27T12:30:00+02:30", 0},
		{"2026-11-27T05:00:01.5-05:00", 1000},
		{"2026-11-27T10:00:00", -1},
		{"2026-11-27T10:00:00+1", -1},
		{"2026-11-27T10:00:00+01:00x", -1},
		{"2026-11-27T10:00:00?01:00", -1},
		{"2026-11-27 10:00:00Z", -1},
		{"yesterday", -1},
		{"", -1},
		{"2026-11-27T10:00:00.\\u0000Z", -1},
		{"99999999999999999-11-27T1:1:1Z", -1},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(text, sizeof(text),
			 "{\"id\":\"" ID "\",\"started_at\":\"%s\",\"seen_at\":\"%s\"}",
			 times[i].text, times[i].text);
		if (reads(text) != (times[i].after_ms >= 0))
			fail_msg("%s", text);
		if (times[i].after_ms >= 0)
			assert_int_equal(info.seen_ms - ten_o_clock_ms, times[i].after_ms);
	}
}

static void what_is_odd_is_refused(void **state)
{
	static const char *const odd[] = {
		"",
		"null",
		"[]",
		"{}",
		"{\"id\":\"" ID "\"}",
		"{\"id\":\"fedcba9876543210\"," TIMES "}",
		"{\"id\":5," TIMES "}",
		"{\"id\":\"" ID "\",\"name\":5," TIMES "}",
		"{\"id\":\"" ID "\",\"name\":\"a\\nb\"," TIMES "}",
		"{\"id\":\"" ID "\",\"name\":\"a\\u0000\"," TIMES "}",
		"{\"id\":\"" ID "\",\"name\":\"\xFF\"," TIMES "}",
		"{\"id\":\"" ID "\",\"version\":{}," TIMES "}",
		"{\"id\":\"" ID
		"\",\"version\":\"0123456789012345678901234567890123456789012345678901"
		"234567890123\"," TIMES "}",
		"{\"id\":\"" ID "\",\"connected_sockets\":-1," TIMES "}",
		"{\"id\":\"" ID "\",\"connected_clients\":1.5," TIMES "}",
		"{\"id\":\"" ID "\",\"active_topics\":\"1\"," TIMES "}",
		"{\"id\":\"" ID "\",\"active_topics\":99999999999999999999," TIMES "}",
		"{\"id\":\"" ID "\"," TIMES ",\"seen_at\":5}",
	};
	static char huge[NODE_INFO_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		if (reads(odd[i]))
			fail_msg("%s", odd[i]);
	assert_true(reads("{\"id\":\"" ID "\"," TIMES ",\"more\":[],\"alive\":false}"));
	assert_false(info.is_alive);
	assert_string_equal(info.name, "");
	memset(huge, ' ', sizeof(huge) - 1);
	memcpy(huge, "{\"id\":\"" ID "\"," TIMES "}", strlen("{\"id\":\"" ID "\"," TIMES "}"));
	assert_false(reads(huge));
	huge[NODE_INFO_MAX] = '\0';
	assert_true(reads(huge));
	assert_false(node_info_read((struct slice){"x", 1}, (struct slice){"{}", 2}, &info));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_the_same),
		cmocka_unit_test(times_are_read_as_go_writes_them),
		cmocka_unit_test(what_is_odd_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
