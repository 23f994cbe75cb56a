/*
 * How fast a client may send: bursts, the steady rate, and clients that ask for too much.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/contract/message.h"

static int64_t paid_us;

static int begin(void **state)
{
	(void)state;
	paid_us = 0;
	return 0;
}

#define RATE_TEST(test) cmocka_unit_test_setup(test, begin)

/* How many of `count` messages at that moment are allowed. */
static int allowed(int count, int64_t now_ms, int64_t per_second)
{
	int taken = 0;

	for (int i = 0; i < count; i++)
		taken += message_rate_take(&paid_us, now_ms, per_second);
	return taken;
}

static void two_seconds_worth_may_come_at_once(void **state)
{
	(void)state;
	assert_int_equal(allowed(100, 5000, 20), 40);
	paid_us = 0;
	assert_int_equal(allowed(100, 0, 1), 2);
	paid_us = 0;
	assert_int_equal(allowed(300000, 0, 100000), 200000);
}

static void then_only_as_many_as_the_rate_gives_back(void **state)
{
	(void)state;
	assert_int_equal(allowed(40, 5000, 20), 40);
	assert_int_equal(allowed(3, 5049, 20), 0);
	assert_int_equal(allowed(3, 5050, 20), 1);
	assert_int_equal(allowed(3, 5100, 20), 1);
	assert_int_equal(allowed(100, 6100, 20), 20);
	assert_int_equal(allowed(100, 100000, 20), 40); /* never more than a burst */
}

static void the_steady_rate_is_never_too_much(void **state)
{
	static const int64_t rates[] = {1, 3, 7, 20, 1000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		paid_us = 0;
		for (int64_t n = 0; n < rates[i] * 1000; n++) {
			int64_t now_ms = 1000 + (n * 1000 + rates[i] - 1) / rates[i];

			if (!message_rate_take(&paid_us, now_ms, rates[i]))
				fail_msg("%lld a second: message %lld", (long long)rates[i],
					 (long long)n);
		}
	}
}

static void a_little_more_than_the_rate_is_too_much_in_the_end(void **state)
{
	int64_t n = 0;

	(void)state;
	while (message_rate_take(&paid_us, n * 1000 / 21, 20)) /* 21 a second */
		n++;
	assert_in_range(n, 21 * 38, 21 * 42); /* one a second too many, 40 in hand */
}

static void no_rate_is_no_limit(void **state)
{
	(void)state;
	assert_int_equal(allowed(100000, 0, 0), 100000);
	assert_int_equal(allowed(100, 0, 20), 40); /* and nothing was counted */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RATE_TEST(two_seconds_worth_may_come_at_once),
		RATE_TEST(then_only_as_many_as_the_rate_gives_back),
		RATE_TEST(the_steady_rate_is_never_too_much),
		RATE_TEST(a_little_more_than_the_rate_is_too_much_in_the_end),
		RATE_TEST(no_rate_is_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
