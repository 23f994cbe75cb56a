/*
 * The write lock between real processes: who waits, for how long, and what a holder's death does.
 */
#include "tests/unit/database_fixture.h"
#include "shared/database/write_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

enum { LONG_MS = 20000 };

static int open_lock(void)
{
	int lock = write_lock_open(path_of("../lock"));

	assert_true(lock >= 0);
	return lock;
}

static int make_lock(void **state)
{
	return make_base(state) == 0 && mkdir(state_dir, 0700) == 0 ? 0 : -1;
}

#define LOCK_TEST(test) cmocka_unit_test_setup_teardown(test, make_lock, remove_base)

/* A child that holds the lock and says so with a byte; it goes on when it reads one, or is killed.
 */
struct holder {
	int said[2], told[2];
	pid_t pid;
};

static void hold(void *argument)
{
	struct holder *holder = argument;
	int lock = write_lock_open(path_of("../lock"));
	char byte = '!';

	MUST(lock >= 0 && write_lock_take(lock, clock_monotonic_ms() + LONG_MS));
	MUST(write(holder->said[1], &byte, 1) == 1);
	MUST(read(holder->told[0], &byte, 1) == 1);
	write_lock_release(lock);
	MUST(write(holder->said[1], &byte, 1) == 1);
	pause();
}

static void start_holder(struct holder *holder)
{
	char byte;

	assert_int_equal(pipe2(holder->said, O_CLOEXEC) | pipe2(holder->told, O_CLOEXEC), 0);
	holder->pid = start_child(hold, holder);
	assert_int_equal(read(holder->said[0], &byte, 1), 1);
}

static void release_holder(struct holder *holder)
{
	char byte = '!';

	assert_int_equal(write(holder->told[1], &byte, 1), 1);
	assert_int_equal(read(holder->said[0], &byte, 1), 1);
}

static void end_holder(struct holder *holder)
{
	kill_child(holder->pid);
	for (int i = 0; i < 2; i++) {
		close(holder->said[i]);
		close(holder->told[i]);
	}
}

static void one_has_it_at_a_time(void **state)
{
	(void)state;
	int one = open_lock(), two = open_lock();

	assert_true(write_lock_try(one));
	assert_false(write_lock_try(two));
	assert_true(write_lock_try(one)); /* it has it already */
	write_lock_release(one);
	assert_true(write_lock_try(two));
	assert_false(write_lock_try(one));
	close(two);
	assert_true(write_lock_try(one));
	close(one);
}

static void it_is_between_processes(void **state)
{
	(void)state;
	int lock = open_lock();
	struct holder holder;

	start_holder(&holder);
	assert_false(write_lock_try(lock));
	release_holder(&holder);
	assert_true(write_lock_try(lock));
	end_holder(&holder);
	close(lock);
}

static void a_killed_holder_leaves_it_free(void **state)
{
	(void)state;
	int lock = open_lock();
	struct holder holder;

	start_holder(&holder);
	end_holder(&holder);
	assert_true(write_lock_try(lock));
	close(lock);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	(void)state;
	static const int64_t waits_ms[] = {-1000, 0, 1, 30, 250};
	int lock = open_lock();
	struct holder holder;

	start_holder(&holder);
	for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
		int64_t deadline_ms = clock_monotonic_ms() + waits_ms[i];

		assert_false(write_lock_take(lock, deadline_ms));
		assert_true(clock_monotonic_ms() >= (waits_ms[i] > 0 ? deadline_ms : 0));
		assert_true(clock_monotonic_ms() < deadline_ms + 5000);
	}
	/* A stopped holder holds nobody up for longer. */
	kill(holder.pid, SIGSTOP);
	assert_false(write_lock_take(lock, clock_monotonic_ms() + 30));
	end_holder(&holder);
	assert_true(write_lock_take(lock, 0)); /* a free one is had at any time */
	close(lock);
}

static void a_wait_ends_when_the_lock_is_free(void **state)
{
	(void)state;
	int lock = open_lock();
	struct holder holder;
	char byte = '!';

	start_holder(&holder);
	/* It finds this byte at once or a little later: we wait, or need not. */
	assert_int_equal(write(holder.told[1], &byte, 1), 1);
	assert_true(write_lock_take(lock, clock_monotonic_ms() + LONG_MS));
	end_holder(&holder);
	close(lock);
}

static void ignore(int signal_number)
{
	(void)signal_number;
}

static void interrupt_parent(void *argument)
{
	(void)argument;
	for (;;)
		if (kill(getppid(), SIGUSR1) != 0 || usleep(500) != 0)
			return;
}

static void other_signals_neither_end_nor_lengthen_a_wait(void **state)
{
	(void)state;
	struct sigaction action = {.sa_handler = ignore}, old;
	int lock = open_lock();
	struct holder holder;

	start_holder(&holder);
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	pid_t child = start_child(interrupt_parent, NULL);
	int64_t deadline_ms = clock_monotonic_ms() + 200;
	assert_false(write_lock_take(lock, deadline_ms));
	assert_in_range(clock_monotonic_ms(), deadline_ms, deadline_ms + 5000);
	kill_child(child);
	sigaction(SIGUSR1, &old, NULL);
	end_holder(&holder);
	close(lock);
}

static void a_blocked_alarm_does_not_make_it_wait_for_ever(void **state)
{
	(void)state;
	int lock = open_lock();
	struct holder holder;
	sigset_t alarm_only, old;

	start_holder(&holder);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &alarm_only, &old), 0);
	assert_false(write_lock_take(lock, clock_monotonic_ms() + 30));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	end_holder(&holder);
	close(lock);
}

/* Each of them adds to a number that only the lock protects. */
static void count_up(void *argument)
{
	volatile int *number = argument;
	int lock = write_lock_open(path_of("../lock"));

	MUST(lock >= 0);
	for (int i = 0; i < 2000; i++) {
		MUST(write_lock_take(lock, clock_monotonic_ms() + LONG_MS));
		int before = *number;
		if (i % 16 == 0)
			sched_yield();
		*number = before + 1;
		write_lock_release(lock);
	}
	close(lock);
}

static void many_waiters_all_come_to_their_turn(void **state)
{
	(void)state;
	enum { CHILDREN = 4 };
	int *number = mmap(NULL, sizeof(*number), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[CHILDREN];

	assert_ptr_not_equal(number, MAP_FAILED);
	for (int i = 0; i < CHILDREN; i++)
		children[i] = start_child(count_up, number);
	for (int i = 0; i < CHILDREN; i++)
		wait_for_child(children[i]);
	assert_int_equal(*number, CHILDREN * 2000);
	munmap(number, sizeof(*number));
}

static void the_file_is_private_and_no_link(void **state)
{
	(void)state;
	mode_t old_mask = umask(0);
	int lock = open_lock();
	struct stat info;

	umask(old_mask);
	assert_int_equal(stat(path_of("../lock"), &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	close(lock);

	assert_int_equal(symlink("lock", path_of("../link")), 0);
	assert_int_equal(write_lock_open(path_of("../link")), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(write_lock_open(path_of("nowhere/lock")), -1);
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCK_TEST(one_has_it_at_a_time),
		LOCK_TEST(it_is_between_processes),
		LOCK_TEST(a_killed_holder_leaves_it_free),
		LOCK_TEST(a_wait_ends_at_its_deadline),
		LOCK_TEST(a_wait_ends_when_the_lock_is_free),
		LOCK_TEST(other_signals_neither_end_nor_lengthen_a_wait),
		LOCK_TEST(a_blocked_alarm_does_not_make_it_wait_for_ever),
		LOCK_TEST(many_waiters_all_come_to_their_turn),
		LOCK_TEST(the_file_is_private_and_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
