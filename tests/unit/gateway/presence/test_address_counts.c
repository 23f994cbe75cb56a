// needs: gateway/presence/address_counts.c gateway/presence/client_address.c
/*
 * Counting connections by address: sentence by sentence, and against an array by a fixed sequence
 * of random steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "gateway/presence/address_counts.h"

static struct address_counts *counts;

static int make_counts(void **state)
{
	(void)state;
	counts = address_counts_new();
	return 0;
}

static int free_counts(void **state)
{
	(void)state;
	address_counts_free(counts);
	address_counts_free(NULL);
	return 0;
}

#define COUNTS_TEST(test) cmocka_unit_test_setup_teardown(test, make_counts, free_counts)

static struct client_address address_of(const char *text)
{
	struct client_address address;
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	assert_int_equal(inet_pton(AF_INET6, mapped, address.bytes), 1);
	return address;
}

static void add(const char *text)
{
	struct client_address address = address_of(text);

	address_counts_add(counts, &address);
}

static void take_back(const char *text)
{
	struct client_address address = address_of(text);

	address_counts_remove(counts, &address);
}

static size_t count_of(const char *text)
{
	struct client_address address = address_of(text);

	return address_counts_get(counts, &address);
}

static void each_address_has_a_count_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(count_of("192.0.2.1"), 0);
	add("192.0.2.1");
	add("192.0.2.1");
	add("192.0.2.2");
	add("2001:db8::1");
	assert_int_equal(count_of("192.0.2.1"), 2);
	assert_int_equal(count_of("192.0.2.2"), 1);
	assert_int_equal(count_of("192.0.2.3"), 0);
	assert_int_equal(count_of("2001:db8::1"), 1);
	take_back("192.0.2.1");
	assert_int_equal(count_of("192.0.2.1"), 1);
	take_back("192.0.2.1");
	assert_int_equal(count_of("192.0.2.1"), 0);
	assert_int_equal(count_of("192.0.2.2"), 1);
}

static void an_ipv6_client_is_its_first_64_bits(void **state)
{
	(void)state;
	add("2001:db8:0:1::1");
	add("2001:db8:0:1:ffff:ffff:ffff:ffff");
	assert_int_equal(count_of("2001:db8:0:1:2:3:4:5"), 2);
	assert_int_equal(count_of("2001:db8:0:2::1"), 0);
	assert_int_equal(count_of("2001:db8:0:0::1"), 0);
	take_back("2001:db8:0:1:9::9");
	assert_int_equal(count_of("2001:db8:0:1::1"), 1);
}

static void ipv4_loopback_and_the_unknown_one_are_not_one_client(void **state)
{
	(void)state;
	add("::");
	add("::1");
	add("127.0.0.1");
	add("0.0.0.0");
	add("64:ff9b::192.0.2.1");
	assert_int_equal(count_of("::"), 1);
	assert_int_equal(count_of("::1"), 1);
	assert_int_equal(count_of("127.0.0.1"), 1);
	assert_int_equal(count_of("127.0.0.2"), 0);
	assert_int_equal(count_of("0.0.0.0"), 1);
	assert_int_equal(count_of("192.0.2.1"), 0);
}

static void taking_back_what_is_not_there_changes_nothing(void **state)
{
	(void)state;
	take_back("192.0.2.1");
	assert_int_equal(count_of("192.0.2.1"), 0);
	add("192.0.2.1");
	take_back("192.0.2.2");
	assert_int_equal(count_of("192.0.2.1"), 1);
}

static struct client_address numbered(size_t number)
{
	struct client_address address = address_of("10.0.0.0");

	address.bytes[13] = (unsigned char)(number >> 16);
	address.bytes[14] = (unsigned char)(number >> 8);
	address.bytes[15] = (unsigned char)number;
	return address;
}

static void random_steps_agree_with_an_array(void **state)
{
	enum { STEPS = 400000, ADDRESSES = 3000 };
	static size_t model[ADDRESSES];
	unsigned short random_state[3] = {1949};

	(void)state;
	for (size_t step = 0; step < STEPS; step++) {
		size_t mood = step / 40000 % 9 + 1; /* fills, empties, fills */
		size_t chance = (size_t)nrand48(random_state);
		size_t number = chance / 16 % ADDRESSES;
		struct client_address address = numbered(number);

		if (chance % 10 < mood) {
			address_counts_add(counts, &address);
			model[number]++;
		} else {
			address_counts_remove(counts, &address);
			model[number] -= model[number] > 0;
		}
		assert_int_equal(address_counts_get(counts, &address), model[number]);
		for (size_t i = 0; step % 5000 == 0 && i < ADDRESSES; i++) {
			address = numbered(i);
			assert_int_equal(address_counts_get(counts, &address), model[i]);
		}
	}
	for (size_t i = 0; i < ADDRESSES; i++) {
		struct client_address address = numbered(i);

		for (; model[i] > 0; model[i]--)
			address_counts_remove(counts, &address);
	}
	for (size_t i = 0; i < ADDRESSES; i++) {
		struct client_address address = numbered(i);

		assert_int_equal(address_counts_get(counts, &address), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		COUNTS_TEST(each_address_has_a_count_of_its_own),
		COUNTS_TEST(an_ipv6_client_is_its_first_64_bits),
		COUNTS_TEST(ipv4_loopback_and_the_unknown_one_are_not_one_client),
		COUNTS_TEST(taking_back_what_is_not_there_changes_nothing),
		COUNTS_TEST(random_steps_agree_with_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
