// needs: gateway/presence/tally.c
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

enum { WORKERS = 3, MOST = 100, DESCRIPTORS = 2100 };

static struct tally *alone;

/* As the kernel gives them out: the lowest that is free. */
static bool is_open[DESCRIPTORS];

static int open_fd(void)
{
	for (int fd = 0; fd < DESCRIPTORS; fd++)
		if (!is_open[fd]) {
			is_open[fd] = true;
			return fd;
		}
	fail();
	return -1;
}

static void take_away(struct tally *tally, int fd)
{
	tally_remove(tally, fd);
	is_open[fd] = false;
}

/* A process of that number begins. */
static void count_as(struct tally *tally, size_t worker)
{
	memset(is_open, 0, sizeof(is_open));
	tally_count_as(tally, worker);
}

static int make_tally(void **state)
{
	(void)state;
	alone = tally_new(1, MOST);
	count_as(alone, 1);
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

static int add_address(struct tally *tally, struct client_address address)
{
	int fd = open_fd();

	tally_add(tally, fd, &address);
	return fd;
}

static int add(struct tally *tally, const char *text)
{
	return add_address(tally, address_of(text));
}

static size_t count_of(struct tally *tally, const char *text)
{
	struct client_address address = address_of(text);

	return tally_of(tally, &address);
}

static int add_number(struct tally *tally, size_t number)
{
	return add_address(tally, numbered(number));
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
	int first = add(alone, "192.0.2.1");
	int second = add(alone, "192.0.2.1");
	add(alone, "192.0.2.2");
	add(alone, "2001:db8::1");
	assert_int_equal(count_of(alone, "192.0.2.1"), 2);
	assert_int_equal(count_of(alone, "192.0.2.2"), 1);
	assert_int_equal(count_of(alone, "192.0.2.3"), 0);
	assert_int_equal(count_of(alone, "2001:db8::1"), 1);
	assert_int_equal(tally_connections(alone), 4);
	take_away(alone, first);
	assert_int_equal(count_of(alone, "192.0.2.1"), 1);
	take_away(alone, second);
	assert_int_equal(count_of(alone, "192.0.2.1"), 0);
	assert_int_equal(count_of(alone, "192.0.2.2"), 1);
	assert_int_equal(tally_connections(alone), 2);
}

static void an_ipv6_client_is_its_first_64_bits(void **state)
{
	(void)state;
	add(alone, "2001:db8:0:1::1");
	int fd = add(alone, "2001:db8:0:1:ffff:ffff:ffff:ffff");
	assert_int_equal(count_of(alone, "2001:db8:0:1:2:3:4:5"), 2);
	assert_int_equal(count_of(alone, "2001:db8:0:2::1"), 0);
	assert_int_equal(count_of(alone, "2001:db8:0:0::1"), 0);
	take_away(alone, fd);
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

static void descriptors_beyond_the_table_count_only_in_all(void **state)
{
	(void)state;
	int first = 0, beyond, further;

	for (size_t i = 0; i < MOST; i++) {
		int fd = add_number(alone, i);
		first = i == 0 ? fd : first;
	}
	beyond = add_number(alone, MOST);
	further = add_number(alone, 5);
	for (size_t i = 0; i < MOST; i++)
		assert_int_equal(count_of_number(alone, i), 1);
	assert_int_equal(count_of_number(alone, MOST), 0);
	assert_int_equal(tally_connections(alone), MOST + 2);
	take_away(alone, beyond);
	take_away(alone, further);
	for (size_t i = 0; i < MOST; i++)
		assert_int_equal(count_of_number(alone, i), 1);
	take_away(alone, first);
	assert_int_equal(add_number(alone, MOST), first); /* there is room again */
	assert_int_equal(count_of_number(alone, 0), 0);
	assert_int_equal(count_of_number(alone, MOST), 1);
	assert_int_equal(tally_connections(alone), MOST);
}

static void random_steps_agree_with_an_array(void **state)
{
	enum { STEPS = 100000, ADDRESSES = 30, ROOM = 2000 };
	static int fds[ADDRESSES][ROOM];
	static size_t model[ADDRESSES];
	unsigned short random_state[3] = {1949};
	struct tally *tally = tally_new(1, ROOM);
	size_t sum = 0;

	(void)state;
	count_as(tally, 1);
	for (size_t step = 0; step < STEPS; step++) {
		size_t mood = step / 10000 % 9 + 1; /* fills, empties, fills */
		size_t chance = (size_t)nrand48(random_state);
		size_t number = chance / 16 % ADDRESSES;

		if (chance % 10 < mood && sum < ROOM) {
			fds[number][model[number]++] = add_number(tally, number);
			sum++;
		} else if (model[number] > 0) {
			take_away(tally, fds[number][--model[number]]);
			sum--;
		}
		assert_int_equal(tally_connections(tally), sum);
		for (size_t i = 0; step % 100 == 0 && i < ADDRESSES; i++)
			assert_int_equal(count_of_number(tally, i), model[i]);
	}
	for (size_t i = 0; i < ADDRESSES; i++)
		while (model[i] > 0)
			take_away(tally, fds[i][--model[i]]);
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
		count_as(tally, i + 1);
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

	count_as(tally, 2);
	for (size_t i = 0; i < MOST; i++)
		add_number(tally, i);
	assert_int_equal(tally_connections(tally), MOST);
	count_as(tally, 2);
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
		count_as(tally, 2);
		for (;;)
			take_away(tally, add_number(tally, 1));
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

	count_as(tally, 1);
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

	count_as(tally, 1);
	for (int turn = 0; turn < 20; turn++) {
		pid_t child = start_counting(tally);

		kill(child, SIGSTOP);
		assert_int_equal(waitpid(child, &status, WUNTRACED), child);
		take_away(tally, add_number(tally, 1));
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
		TALLY_TEST(descriptors_beyond_the_table_count_only_in_all),
		cmocka_unit_test(random_steps_agree_with_an_array),
		cmocka_unit_test(workers_see_each_others_connections),
		cmocka_unit_test(a_worker_that_takes_the_place_of_another_begins_with_nothing),
		cmocka_unit_test(what_a_killed_process_had_is_forgotten_and_the_others_go_on),
		cmocka_unit_test(a_worker_that_hangs_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
