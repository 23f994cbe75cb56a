// needs: gateway/presence/tally.c gateway/presence/address_counts.c
// needs: gateway/presence/client_address.c
/*
 * Counting connections in one process and in several that share memory, one of which dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "gateway/presence/tally.h"

enum { WORKERS = 3, MOST = 100 };

static struct client_address address_of(unsigned char last)
{
	struct client_address address = {.bytes = {[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2}};

	address.bytes[15] = last;
	return address;
}

static void add(struct tally *tally, unsigned char last, int times)
{
	struct client_address address = address_of(last);

	for (int i = 0; i < times; i++)
		tally_add(tally, &address);
}

static size_t count_of(struct tally *tally, unsigned char last)
{
	struct client_address address = address_of(last);

	return tally_of(tally, &address);
}

static void one_process_counts_alone(void **state)
{
	(void)state;
	struct tally *tally = tally_new();
	struct client_address address = address_of(1);

	add(tally, 1, 3);
	add(tally, 2, 1);
	tally_remove(tally, &address);
	assert_int_equal(tally_connections(tally), 3);
	assert_int_equal(count_of(tally, 1), 2);
	assert_int_equal(count_of(tally, 2), 1);
	assert_int_equal(count_of(tally, 3), 0);
	tally_free(tally);
	tally_free(NULL);
}

static void workers_see_each_others_connections(void **state)
{
	(void)state;
	int fd = tally_share(WORKERS, MOST);
	struct tally *parent = tally_join(fd, 0), *workers[WORKERS];

	for (size_t i = 0; i < WORKERS; i++) {
		workers[i] = tally_join(fd, i + 1);
		add(workers[i], 1, (int)i + 1);
		add(workers[i], (unsigned char)(10 + i), 1);
	}
	for (size_t i = 0; i < WORKERS; i++) {
		assert_int_equal(tally_connections(workers[i]), 6 + WORKERS);
		assert_int_equal(count_of(workers[i], 1), 6);
		assert_int_equal(count_of(workers[i], 11), 1);
	}
	tally_forget(parent, 2);
	assert_int_equal(tally_connections(workers[0]), 6 + WORKERS - 3);
	assert_int_equal(count_of(workers[0], 1), 4);
	assert_int_equal(count_of(workers[0], 11), 0);
	for (size_t i = 0; i < WORKERS; i++)
		tally_free(workers[i]);
	tally_free(parent);
	close(fd);
}

static void a_table_that_is_full_of_what_was_promised_still_counts(void **state)
{
	(void)state;
	int fd = tally_share(1, MOST);
	struct tally *worker = tally_join(fd, 1);

	for (int i = 0; i < MOST; i++)
		add(worker, (unsigned char)i, 1);
	for (int i = 0; i < MOST; i++)
		assert_int_equal(count_of(worker, (unsigned char)i), 1);
	tally_free(worker);
	close(fd);
}

static void what_a_killed_process_had_is_forgotten_and_the_others_go_on(void **state)
{
	(void)state;
	int fd = tally_share(2, MOST);
	struct tally *parent = tally_join(fd, 0), *worker = tally_join(fd, 1);
	int status;

	for (int turn = 0; turn < 50; turn++) {
		pid_t child = fork();

		if (child == 0) {
			struct tally *own = tally_join(fd, 2);
			struct client_address address = address_of(1);

			for (;;) { /* it is killed in the middle of this */
				tally_add(own, &address);
				tally_remove(own, &address);
			}
		}
		while (tally_connections(worker) == 0)
			; /* until it has begun */
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		tally_forget(parent, 2);
		assert_int_equal(tally_connections(worker), 0);
		assert_int_equal(count_of(worker, 1), 0);
	}
	tally_free(worker);
	tally_free(parent);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_process_counts_alone),
		cmocka_unit_test(workers_see_each_others_connections),
		cmocka_unit_test(a_table_that_is_full_of_what_was_promised_still_counts),
		cmocka_unit_test(what_a_killed_process_had_is_forgotten_and_the_others_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
