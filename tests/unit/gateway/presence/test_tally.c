// needs: gateway/presence/tally.c shared/contract/client_address.c
/*
 * Counting connections, in all and by address: sentence by sentence, against an array by a fixed
 * sequence of random steps, and in several processes that share memory, one of which dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/presence/tally.h"

enum { WORKERS = 3, MOST = 100 };

static struct tally *alone;

static int make_tally(void **state)
{
	(void)state;
	alone = tally_new(1, MOST);
	tally_count_as(alone, 1);
	return 0;
}

static int free_tally(void **state)
{
	(void)state;
	tally_free(alone);
	tally_free(NULL);
	return 0;
}

#define TALLY_TEST(test) cmocka_unit_test_setup_teardown(test, make_tally, free_tally)

static struct client_address address_of(const char *text)
{
	struct client_address address;
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	assert_int_equal(inet_pton(AF_INET6, mapped, address.bytes), 1);
	return address;
}

static struct client_address numbered(size_t number)
{
	struct client_address address = address_of("10.0.0.0");

	address.bytes[13] = (unsigned char)(number >> 16);
	address.bytes[14] = (unsigned char)(number >> 8);
	address.bytes[15] = (unsigned char)number;
	return address;
}

static uint32_t add(struct tally *tally, const char *text)
{
	struct client_address address = address_of(text);

	return tally_add(tally, &address);
}

static size_t count_of(struct tally *tally, const char *text)
{
	struct client_address address = address_of(text);

	return tally_of(tally, &address);
}

static uint32_t add_number(struct tally *tally, size_t number)
{
	struct client_address address = numbered(number);

	return tally_add(tally, &address);
}

static size_t count_of_number(struct tally *tally, size_t number)
{
	struct client_address address = numbered(number);

	return tally_of(tally, &address);
}

static void each_address_has_a_count_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(count_of(alone, "192.0.2.1"), 0);
	uint32_t first = add(alone, "192.0.2.1");
	uint32_t second = add(alone, "192.0.2.1");
	add(alone, "192.0.2.2");
	add(alone, "2001:db8::1");
	assert_int_equal(count_of(alone, "192.0.2.1"), 2);
	assert_int_equal(count_of(alone, "192.0.2.2"), 1);
	assert_int_equal(count_of(alone, "192.0.2.3"), 0);
	assert_int_equal(count_of(alone, "2001:db8::1"), 1);
	assert_int_equal(tally_connections(alone), 4);
	tally_remove(alone, first);
	assert_int_equal(count_of(alone, "192.0.2.1"), 1);
	tally_remove(alone, second);
	assert_int_equal(count_of(alone, "192.0.2.1"), 0);
	assert_int_equal(count_of(alone, "192.0.2.2"), 1);
	assert_int_equal(tally_connections(alone), 2);
}

static void an_ipv6_client_is_its_first_64_bits(void **state)
{
	(void)state;
	add(alone, "2001:db8:0:1::1");
	uint32_t place = add(alone, "2001:db8:0:1:ffff:ffff:ffff:ffff");
	assert_int_equal(count_of(alone, "2001:db8:0:1:2:3:4:5"), 2);
	assert_int_equal(count_of(alone, "2001:db8:0:2::1"), 0);
	assert_int_equal(count_of(alone, "2001:db8:0:0::1"), 0);
	tally_remove(alone, place);
	assert_int_equal(count_of(alone, "2001:db8:0:1::1"), 1);
}

static void ipv4_loopback_and_the_unknown_one_are_not_one_client(void **state)
{
	(void)state;
	add(alone, "::");
	add(alone, "::1");
	add(alone, "127.0.0.1");
	add(alone, "0.0.0.0");
	add(alone, "64:ff9b::192.0.2.1");
	assert_int_equal(count_of(alone, "::"), 1);
	assert_int_equal(count_of(alone, "::1"), 1);
	assert_int_equal(count_of(alone, "127.0.0.1"), 1);
	assert_int_equal(count_of(alone, "127.0.0.2"), 0);
	assert_int_equal(count_of(alone, "0.0.0.0"), 1);
	assert_int_equal(count_of(alone, "192.0.2.1"), 0);
}

static void a_full_table_counts_each_address_and_beyond_it_only_in_all(void **state)
{
	(void)state;
	uint32_t first = 0, beyond;

	for (size_t i = 0; i < MOST; i++) {
		uint32_t place = add_number(alone, i);
		first = i == 0 ? place : first;
	}
	beyond = add_number(alone, MOST);
	assert_int_equal(add_number(alone, 5), beyond);
	for (size_t i = 0; i < MOST; i++)
		assert_int_equal(count_of_number(alone, i), 1);
	assert_int_equal(count_of_number(alone, MOST), 0);
	assert_int_equal(tally_connections(alone), MOST + 2);
	tally_remove(alone, beyond);
	tally_remove(alone, beyond);
	for (size_t i = 0; i < MOST; i++)
		assert_int_equal(count_of_number(alone, i), 1);
	tally_remove(alone, first);
	assert_int_equal(add_number(alone, MOST), first); /* there is room again */
	assert_int_equal(count_of_number(alone, 0), 0);
	assert_int_equal(count_of_number(alone, MOST), 1);
	assert_int_equal(tally_connections(alone), MOST);
}

static void random_steps_agree_with_an_array(void **state)
{
	enum { STEPS = 100000, ADDRESSES = 30, ROOM = 2000 };
	static uint32_t places[ADDRESSES][ROOM];
	static size_t model[ADDRESSES];
	unsigned short random_state[3] = {1949};
	struct tally *tally = tally_new(1, ROOM);
	size_t sum = 0;

	(void)state;
	tally_count_as(tally, 1);
	for (size_t step = 0; step < STEPS; step++) {
		size_t mood = step / 10000 % 9 + 1; /* fills, empties, fills */
		size_t chance = (size_t)nrand48(random_state);
		size_t number = chance / 16 % ADDRESSES;

		if (chance % 10 < mood && sum < ROOM) {
			places[number][model[number]++] = add_number(tally, number);
			sum++;
		} else if (model[number] > 0) {
			tally_remove(tally, places[number][--model[number]]);
			sum--;
		}
		assert_int_equal(tally_connections(tally), sum);
		for (size_t i = 0; step % 100 == 0 && i < ADDRESSES; i++)
			assert_int_equal(count_of_number(tally, i), model[i]);
	}
	for (size_t i = 0; i < ADDRESSES; i++)
		while (model[i] > 0)
			tally_remove(tally, places[i][--model[i]]);
	for (size_t i = 0; i < ADDRESSES; i++)
		assert_int_equal(count_of_number(tally, i), 0);
	assert_int_equal(tally_connections(tally), 0);
	tally_free(tally);
}

static void workers_see_each_others_connections(void **state)
{
	(void)state;
	struct tally *tally = tally_new(WORKERS, MOST);

	for (size_t i = 0; i < WORKERS; i++) { /* one process, as each of them in turn */
		tally_count_as(tally, i + 1);
		for (size_t times = 0; times <= i; times++)
			add_number(tally, 1);
		add_number(tally, 10 + i);
	}
	assert_int_equal(tally_connections(tally), 6 + WORKERS);
	assert_int_equal(count_of_number(tally, 1), 6);
	assert_int_equal(count_of_number(tally, 11), 1);
	tally_forget(tally, 2);
	assert_int_equal(tally_connections(tally), 6 + WORKERS - 3);
	assert_int_equal(count_of_number(tally, 1), 4);
	assert_int_equal(count_of_number(tally, 11), 0);
	tally_free(tally);
}

static void a_worker_that_takes_the_place_of_another_begins_with_nothing(void **state)
{
	(void)state;
	struct tally *tally = tally_new(2, MOST);

	tally_count_as(tally, 2);
	for (size_t i = 0; i < MOST; i++)
		add_number(tally, i);
	assert_int_equal(tally_connections(tally), MOST);
	tally_count_as(tally, 2);
	assert_int_equal(tally_connections(tally), 0);
	assert_int_equal(count_of_number(tally, 1), 0);
	add_number(tally, 1);
	assert_int_equal(count_of_number(tally, 1), 1);
	tally_free(tally);
}

/* A fork that counts as worker 2, one connection up and down, until it is killed in the middle of
 * that. Returns when it has begun. */
static pid_t start_counting(struct tally *tally)
{
	pid_t child = fork();

	if (child == 0) {
		tally_count_as(tally, 2);
		for (;;)
			tally_remove(tally, add_number(tally, 1));
	}
	while (tally_connections(tally) == 0)
		;
	return child;
}

static void what_a_killed_process_had_is_forgotten_and_the_others_go_on(void **state)
{
	(void)state;
	struct tally *tally = tally_new(2, MOST);
	int status;

	tally_count_as(tally, 1);
	for (int turn = 0; turn < 50; turn++) {
		pid_t child = start_counting(tally);

		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		tally_forget(tally, 2);
		assert_int_equal(tally_connections(tally), 0);
		assert_int_equal(count_of_number(tally, 1), 0);
	}
	tally_free(tally);
}

static void a_worker_that_hangs_holds_up_nobody(void **state)
{
	(void)state;
	struct tally *tally = tally_new(2, MOST);
	int status;

	tally_count_as(tally, 1);
	for (int turn = 0; turn < 20; turn++) {
		pid_t child = start_counting(tally);

		kill(child, SIGSTOP);
		assert_int_equal(waitpid(child, &status, WUNTRACED), child);
		tally_remove(tally, add_number(tally, 1));
		assert_true(tally_connections(tally) <= 1);
		assert_true(count_of_number(tally, 1) <= 1);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		tally_forget(tally, 2);
	}
	tally_free(tally);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALLY_TEST(each_address_has_a_count_of_its_own),
		TALLY_TEST(an_ipv6_client_is_its_first_64_bits),
		TALLY_TEST(ipv4_loopback_and_the_unknown_one_are_not_one_client),
		TALLY_TEST(a_full_table_counts_each_address_and_beyond_it_only_in_all),
		cmocka_unit_test(random_steps_agree_with_an_array),
		cmocka_unit_test(workers_see_each_others_connections),
		cmocka_unit_test(a_worker_that_takes_the_place_of_another_begins_with_nothing),
		cmocka_unit_test(what_a_killed_process_had_is_forgotten_and_the_others_go_on),
		cmocka_unit_test(a_worker_that_hangs_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
