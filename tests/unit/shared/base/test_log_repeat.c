/*
 * What repeats is said once and then counted. The time is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "shared/base/log_repeat.h"
#include "tests/unit/captured_log.h"

static struct log_repeat repeat;

static int start(void **state)
{
	(void)state;
	log_setup("test", LOG_INFO);
	repeat = (struct log_repeat){.level = LOG_WARN, .message = "it happened"};
	return start_capture() ? 0 : -1;
}

/* The next line from its level on; "" when there is none. */
static const char *said(void)
{
	size_t len = strlen(next_write());

	written[len > 0 ? len - 1 : 0] = '\0'; /* without the newline */
	const char *level = strstr(written, "level=");
	return level ? level : written;
}

static void happens(int64_t at_ms)
{
	CAPTURED(log_repeat_event(&repeat, at_ms, log_text("why", "so")));
}

static void ends(int64_t at_ms)
{
	CAPTURED(log_repeat_ends(&repeat, at_ms, "it is over"));
}

static void tick(int64_t at_ms)
{
	CAPTURED(log_repeat_tick(&repeat, at_ms, false));
}

#define HAPPENED "level=warn program=test msg=\"it happened\""
#define IS_OVER "level=info program=test msg=\"it is over\""

static void the_first_time_is_said_at_once(void **state)
{
	(void)state;
	happens(5);
	assert_string_equal(said(), HAPPENED " why=\"so\"");
	assert_string_equal(said(), "");
}

static void what_repeats_is_counted_and_said_after_a_minute(void **state)
{
	(void)state;
	happens(1000);
	said();
	for (int64_t ms = 1001; ms < 1000 + LOG_REPEAT_MS; ms += 10) {
		happens(ms);
		tick(ms);
	}
	assert_string_equal(said(), "");
	tick(1000 + LOG_REPEAT_MS);
	assert_string_equal(said(), HAPPENED " times=6000 seconds=60");
	tick(1000 + 10 * LOG_REPEAT_MS);
	assert_string_equal(said(), ""); /* nothing came since */
}

static void without_a_tick_the_next_time_says_the_count(void **state)
{
	(void)state;
	happens(0);
	said();
	happens(10);
	happens(20);
	happens(LOG_REPEAT_MS);
	assert_string_equal(said(), HAPPENED " why=\"so\" times=3 seconds=60");
}

static void after_a_quiet_minute_it_is_a_first_time_again(void **state)
{
	(void)state;
	happens(0);
	said();
	happens(LOG_REPEAT_MS);
	assert_string_equal(said(), HAPPENED " why=\"so\"");
}

static void the_end_is_said_with_how_often_and_how_long(void **state)
{
	(void)state;
	happens(1000);
	said();
	happens(2000);
	happens(3000);
	ends(11000);
	assert_string_equal(said(), IS_OVER " times=3 seconds=10");
	ends(12000);
	assert_string_equal(said(), "");
	tick(2 * LOG_REPEAT_MS);
	assert_string_equal(said(), ""); /* the end has told all */
}

static void the_end_of_what_never_began_is_not_said(void **state)
{
	(void)state;
	ends(5);
	assert_string_equal(said(), "");
}

static void trouble_that_comes_and_goes_is_said_in_few_lines(void **state)
{
	(void)state;
	int lines = 0;

	for (int64_t ms = 0; ms < 10 * LOG_REPEAT_MS; ms += 50) {
		happens(ms);
		lines += *said() != '\0';
		ends(ms + 25);
		lines += *said() != '\0';
		tick(ms + 30);
		lines += *said() != '\0';
	}
	assert_in_range(lines, 2, 22);
}

static void trouble_that_was_not_said_yet_is_said_when_it_stays(void **state)
{
	(void)state;
	happens(0);
	said();
	ends(10);
	assert_string_equal(said(), IS_OVER " times=1 seconds=0");
	happens(1000); /* within the minute */
	assert_string_equal(said(), "");
	tick(LOG_REPEAT_MS);
	assert_string_equal(said(), HAPPENED " times=1 seconds=60");
	ends(LOG_REPEAT_MS + 5000);
	assert_string_equal(said(), IS_OVER " times=1 seconds=64");
}

static void a_cause_stands_in_each_line(void **state)
{
	(void)state;
	repeat.key = "cause";
	repeat.cause = "full";
	happens(0);
	assert_string_equal(said(), HAPPENED " cause=\"full\" why=\"so\"");
	happens(1);
	tick(LOG_REPEAT_MS);
	assert_string_equal(said(), HAPPENED " cause=\"full\" times=1 seconds=60");
	ends(LOG_REPEAT_MS);
	assert_string_equal(said(), IS_OVER " cause=\"full\" times=2 seconds=60");
}

static void at_the_end_of_the_program_the_rest_is_said(void **state)
{
	(void)state;
	happens(0);
	happens(100);
	said();
	CAPTURED(log_repeat_tick(&repeat, 2000, true));
	assert_string_equal(said(), HAPPENED " times=1 seconds=2");
	CAPTURED(log_repeat_tick(&repeat, 3000, true));
	assert_string_equal(said(), "");
}

static void what_is_below_the_level_is_counted_in_silence(void **state)
{
	(void)state;
	repeat.level = LOG_DEBUG;
	happens(0);
	happens(1);
	tick(LOG_REPEAT_MS);
	assert_string_equal(said(), "");
}

#define REPEAT_TEST(test) cmocka_unit_test_setup_teardown(test, start, stop_capture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REPEAT_TEST(the_first_time_is_said_at_once),
		REPEAT_TEST(what_repeats_is_counted_and_said_after_a_minute),
		REPEAT_TEST(without_a_tick_the_next_time_says_the_count),
		REPEAT_TEST(after_a_quiet_minute_it_is_a_first_time_again),
		REPEAT_TEST(the_end_is_said_with_how_often_and_how_long),
		REPEAT_TEST(the_end_of_what_never_began_is_not_said),
		REPEAT_TEST(trouble_that_comes_and_goes_is_said_in_few_lines),
		REPEAT_TEST(trouble_that_was_not_said_yet_is_said_when_it_stays),
		REPEAT_TEST(a_cause_stands_in_each_line),
		REPEAT_TEST(at_the_end_of_the_program_the_rest_is_said),
		REPEAT_TEST(what_is_below_the_level_is_counted_in_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
