// needs: api/listener.c
/*
 * Descriptor 0 and the signals, in child processes: what a child made of it is its exit code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/listener.h"
#include "shared/base/clock.h"

enum { ENDED = 0, BROKEN = 2, NOT_STARTED = 3, CUT_OFF = 4, LIMIT_S = 20 };

/* Shared with the children. */
struct life {
	bool started;
	int served;
};

static struct life *lives;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listening = -1;

static int listen_somewhere(void **state)
{
	(void)state;
	lives = mmap(NULL, 2 * sizeof(*lives), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	if (lives == MAP_FAILED)
		return -1;
	/* An abstract address: no file to clean up. */
	int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "test-listener-%d",
			   (int)getpid());

	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (len < 0 || bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return listen(listening, 128);
}

static int stop_listening(void **state)
{
	(void)state;
	return close(listening);
}

static int connection(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* The life of a program: says 'a' when it has a connection and 'b' when it got a byte. */
static _Noreturn void serve(struct life *life)
{
	char byte;
	int fd;

	alarm(LIMIT_S);
	if (!listener_start())
		_exit(errno ? BROKEN : NOT_STARTED);
	life->started = true;
	while ((fd = listener_accept()) >= 0 || fd == LISTENER_IDLE) {
		if (fd == LISTENER_IDLE)
			continue;
		if (write(fd, "a", 1) != 1 || read(fd, &byte, 1) != 1 || write(fd, "b", 1) != 1)
			_exit(CUT_OFF);
		close(fd);
		life->served++;
	}
	_exit(errno ? BROKEN : ENDED);
}

static pid_t start_as(struct life *life, int descriptor_0)
{
	*life = (struct life){0};
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(descriptor_0, STDIN_FILENO);
		serve(life);
	}
	return pid;
}

static pid_t start(int descriptor_0)
{
	return start_as(&lives[0], descriptor_0);
}

static bool sleeps(pid_t pid)
{
	char path[64], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *stat = fopen(path, "r");
	assert_non_null(stat);
	assert_int_equal(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
	fclose(stat);
	return state == 'S';
}

/* Both wait for somebody to come. */
static void wait_until_idle(const pid_t pids[2])
{
	alarm(LIMIT_S);
	for (size_t i = 0; i < 2; i++)
		while (!*(volatile bool *)&lives[i].started || !sleeps(pids[i]))
			sched_yield();
	alarm(0);
}

static int exit_code(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void expect(int fd, char expected)
{
	char byte = 0;

	alarm(LIMIT_S);
	assert_int_equal(read(fd, &byte, 1), 1);
	alarm(0);
	assert_int_equal(byte, expected);
}

static void a_round(void)
{
	int fd = connection();

	expect(fd, 'a');
	assert_int_equal(write(fd, "x", 1), 1);
	expect(fd, 'b');
	close(fd);
}

static void a_program_started_by_hand_is_told(void **state)
{
	(void)state;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int connected = connection();
	int not_listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(exit_code(start(null_fd)), NOT_STARTED);
	assert_int_equal(exit_code(start(connected)), NOT_STARTED);
	assert_int_equal(exit_code(start(not_listening)), NOT_STARTED);
	close(null_fd);
	close(not_listening);
	close(connected);
	close(accept(listening, NULL, NULL));
}

static void without_descriptors_it_does_not_start(void **state)
{
	(void)state;
	/* 3 for a moment, then the epoll instance; none for the signals. */
	for (rlim_t limit = 3; limit < 5; limit++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct rlimit descriptors = {limit, limit};

			dup2(listening, STDIN_FILENO);
			close_range(3, UINT_MAX, 0);
			setrlimit(RLIMIT_NOFILE, &descriptors);
			_exit(!listener_start() && errno == EMFILE ? ENDED : BROKEN);
		}
		assert_int_equal(exit_code(pid), ENDED);
	}
}

static void each_ending_signal_ends_a_waiting_program(void **state)
{
	(void)state;
	static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		pid_t pid = start(listening);

		a_round();
		a_round();
		kill(pid, signals[i]);
		assert_int_equal(exit_code(pid), ENDED);
	}
}

static void a_request_in_hand_is_finished_first(void **state)
{
	(void)state;
	pid_t pid = start(listening);
	int fd = connection();

	expect(fd, 'a');
	kill(pid, SIGTERM);
	assert_int_equal(write(fd, "x", 1), 1);
	expect(fd, 'b');
	close(fd);
	assert_int_equal(exit_code(pid), ENDED);
}

static void of_several_that_wait_the_same_one_serves(void **state)
{
	(void)state;
	pid_t pids[2];

	for (size_t i = 0; i < 2; i++)
		pids[i] = start_as(&lives[i], listening);
	for (int i = 0; i < 20; i++) {
		wait_until_idle(pids);
		a_round();
	}
	wait_until_idle(pids);
	for (size_t i = 0; i < 2; i++) {
		assert_true(lives[i].served == 0 || lives[i].served == 20);
		kill(pids[i], SIGTERM);
		assert_int_equal(exit_code(pids[i]), ENDED);
	}
}

static void another_one_serves_while_one_is_busy(void **state)
{
	(void)state;
	pid_t pids[2];

	for (size_t i = 0; i < 2; i++)
		pids[i] = start_as(&lives[i], listening);
	wait_until_idle(pids);
	int fd = connection();
	expect(fd, 'a');
	a_round();
	assert_int_equal(write(fd, "x", 1), 1);
	expect(fd, 'b');
	close(fd);
	wait_until_idle(pids);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(lives[i].served, 1);
		kill(pids[i], SIGTERM);
		assert_int_equal(exit_code(pids[i]), ENDED);
	}
}

/* Who has come is taken all the same, up to a limit. */
static void a_signal_during_a_request_is_not_forgotten(void **state)
{
	(void)state;
	int waiting[LISTENER_LAST + 1];

	for (int i = 0; i <= LISTENER_LAST; i++)
		waiting[i] = connection();
	pid_t pid = fork();
	if (pid == 0) {
		int taken = 0;

		dup2(listening, STDIN_FILENO);
		alarm(LIMIT_S);
		if (!listener_start())
			_exit(NOT_STARTED);
		raise(SIGTERM); /* held back until listener_accept */
		while (listener_accept() >= 0)
			taken++;
		_exit(taken == LISTENER_LAST && errno == 0 ? ENDED : BROKEN);
	}
	assert_int_equal(exit_code(pid), ENDED);
	for (int i = 0; i <= LISTENER_LAST; i++)
		close(waiting[i]);
	close(accept(listening, NULL, NULL));
}

static void a_caller_that_goes_away_does_not_end_the_program(void **state)
{
	(void)state;
	pid_t pid = fork();

	if (pid == 0) {
		int pair[2];

		dup2(listening, STDIN_FILENO);
		if (!listener_start() || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
			_exit(NOT_STARTED);
		close(pair[1]);
		_exit(write(pair[0], "x", 1) == -1 && errno == EPIPE ? ENDED : BROKEN);
	}
	assert_int_equal(exit_code(pid), ENDED);
}

static int64_t stand_back_us(void)
{
	int64_t start_us = clock_monotonic_us();

	listener_stand_back();
	return clock_monotonic_us() - start_us;
}

/* However often they are asked to, and also when the first has ended. */
static void all_but_one_stand_back(void **state)
{
	(void)state;
	int said[2];

	assert_int_equal(pipe(said), 0);
	pid_t first = fork();
	if (first == 0) {
		dup2(listening, STDIN_FILENO);
		if (!listener_start() || stand_back_us() >= LISTENER_STAND_BACK_MS * 1000)
			_exit(BROKEN);
		_exit(write(said[1], "!", 1) == 1 && pause() ? ENDED : BROKEN);
	}
	expect(said[0], '!');
	pid_t second = fork();
	if (second == 0) {
		dup2(listening, STDIN_FILENO);
		if (!listener_start() || stand_back_us() < LISTENER_STAND_BACK_MS * 1000 ||
		    stand_back_us() < LISTENER_STAND_BACK_MS * 1000)
			_exit(BROKEN);
		kill(first, SIGKILL);
		while (stand_back_us() >= LISTENER_STAND_BACK_MS * 1000)
			;
		_exit(ENDED);
	}
	assert_int_equal(exit_code(second), ENDED);
	assert_int_equal(exit_code(first), -SIGKILL);
	close(said[0]);
	close(said[1]);
}

static void it_is_quiet_until_somebody_comes(void **state)
{
	(void)state;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(listening, STDIN_FILENO);
		_exit(listener_start() && listener_is_quiet(1) && connection() >= 0 &&
				      !listener_is_quiet(LIMIT_S * 1000)
			      ? ENDED
			      : BROKEN);
	}
	assert_int_equal(exit_code(pid), ENDED);
	close(accept(listening, NULL, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_started_by_hand_is_told),
		cmocka_unit_test(without_descriptors_it_does_not_start),
		cmocka_unit_test(each_ending_signal_ends_a_waiting_program),
		cmocka_unit_test(a_request_in_hand_is_finished_first),
		cmocka_unit_test(a_signal_during_a_request_is_not_forgotten),
		cmocka_unit_test(a_caller_that_goes_away_does_not_end_the_program),
		cmocka_unit_test(of_several_that_wait_the_same_one_serves),
		cmocka_unit_test(another_one_serves_while_one_is_busy),
		cmocka_unit_test(all_but_one_stand_back),
		cmocka_unit_test(it_is_quiet_until_somebody_comes),
	};

	return cmocka_run_group_tests(tests, listen_somewhere, stop_listening);
}
