// needs: gateway/door/limits.c
/*
 * How many connections the configuration and the descriptors allow together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/door/limits.h"

enum { OWN = 288, OWN_OF_1024 = 1024 / 4 }; /* kept by the gateway for itself */

static struct limits limits(int64_t max_connections, int64_t max_unauthenticated,
			    size_t descriptors)
{
	const struct config config = {
		.max_connections = max_connections,
		.max_unauthenticated = max_unauthenticated,
	};

	return limits_for(&config, descriptors);
}

static size_t wanted(int64_t max_connections, int64_t max_unauthenticated)
{
	const struct config config = {
		.max_connections = max_connections,
		.max_unauthenticated = max_unauthenticated,
	};

	return limits_descriptors(&config);
}

static void what_is_configured_holds_when_the_descriptors_reach(void **state)
{
	struct limits result = limits(1000, 50, 20000);

	(void)state;
	assert_int_equal(result.connections, 1000);
	assert_int_equal(result.pending, 50);
	result = limits(1, 1, 20000);
	assert_int_equal(result.connections, 1);
	assert_int_equal(result.pending, 1);
	result = limits(1000, 5000, 20000); /* handshakes are no WebSockets yet */
	assert_int_equal(result.connections, 1000);
	assert_int_equal(result.pending, 5000);
}

static void as_many_descriptors_are_asked_for_as_it_takes(void **state)
{
	static const int64_t configured[][2] = {{1, 0}, {100, 0}, {1000, 50}, {50000, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(configured) / sizeof(configured[0]); i++) {
		size_t descriptors = wanted(configured[i][0], configured[i][1]);
		struct limits result = limits(configured[i][0], configured[i][1], descriptors);

		assert_int_equal(result.connections, configured[i][0]);
		assert_true(result.connections + result.pending < descriptors);
	}
	assert_true(wanted(0, 0) >= 65536);
}

static void without_a_limit_the_descriptors_are_shared_out(void **state)
{
	struct limits result = limits(0, 0, 20000);

	(void)state;
	assert_int_equal(result.pending, (20000 - OWN) / 8);
	assert_int_equal(result.connections, 20000 - OWN - result.pending);
	result = limits(0, 1000, 20000);
	assert_int_equal(result.pending, 1000);
	assert_int_equal(result.connections, 20000 - OWN - 1000);
}

static void the_unauthenticated_get_an_eighth_but_not_too_few(void **state)
{
	(void)state;
	assert_int_equal(limits(8000, 0, 20000).pending, 1000);
	assert_int_equal(limits(128, 0, 20000).pending, 16);
	assert_int_equal(limits(3, 0, 20000).pending, 16);
}

static void more_than_the_descriptors_reach_is_cut(void **state)
{
	struct limits result = limits(100000, 0, 1024);

	(void)state;
	assert_int_equal(result.pending, (1024 - OWN_OF_1024) / 8);
	assert_int_equal(result.connections, 1024 - OWN_OF_1024 - result.pending);
	result = limits(100000, 100000, 1024);
	assert_int_equal(result.pending, (1024 - OWN_OF_1024) / 2);
	assert_int_equal(result.connections, (1024 - OWN_OF_1024) / 2);
	result = limits(720, 0, 1024);
	assert_int_equal(result.pending, 90);
	assert_int_equal(result.connections, 1024 - OWN_OF_1024 - 90);
}

static void where_there_are_few_a_quarter_is_kept(void **state)
{
	struct limits result = limits(0, 0, 256);

	(void)state;
	assert_int_equal(result.connections + result.pending, 192);
	result = limits(0, 0, 4 * OWN);
	assert_int_equal(result.connections + result.pending, 3 * OWN);
	result = limits(0, 0, 5 * OWN);
	assert_int_equal(result.connections + result.pending, 4 * OWN);
}

static void workers_share_but_each_has_one(void **state)
{
	(void)state;
	assert_int_equal(limits_share(100, 0), 100);
	assert_int_equal(limits_share(100, 1), 100);
	assert_int_equal(limits_share(100, 3), 33);
	assert_int_equal(limits_share(2, 3), 1);
}

static void one_of_each_is_always_allowed(void **state)
{
	(void)state;
	for (size_t descriptors = 0; descriptors < 300; descriptors++) {
		struct limits result = limits(0, 0, descriptors);

		assert_true(result.connections >= 1);
		assert_true(result.pending >= 1);
		if (descriptors > 2)
			assert_true(result.connections + result.pending <= descriptors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_configured_holds_when_the_descriptors_reach),
		cmocka_unit_test(as_many_descriptors_are_asked_for_as_it_takes),
		cmocka_unit_test(without_a_limit_the_descriptors_are_shared_out),
		cmocka_unit_test(the_unauthenticated_get_an_eighth_but_not_too_few),
		cmocka_unit_test(more_than_the_descriptors_reach_is_cut),
		cmocka_unit_test(where_there_are_few_a_quarter_is_kept),
		cmocka_unit_test(workers_share_but_each_has_one),
		cmocka_unit_test(one_of_each_is_always_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
