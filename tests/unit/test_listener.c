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
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/listener.h"

enum { ENDED = 0, BROKEN = 2, NOT_STARTED = 3, CUT_OFF = 4, LIMIT_S = 20 };

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listening = -1;

static int listen_somewhere(void **state)
{
	(void)state;
	/* An abstract address: no file to clean up. */
	int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "test-listener-%d",
			   (int)getpid());

	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (len < 0 || bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return listen(listening, 8);
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
static _Noreturn void serve(void)
{
	char byte;
	int fd;

	alarm(LIMIT_S);
	if (!listener_start())
		_exit(NOT_STARTED);
	while ((fd = listener_accept()) >= 0 || fd == LISTENER_IDLE) {
		if (fd == LISTENER_IDLE)
			continue;
		if (write(fd, "a", 1) != 1 || read(fd, &byte, 1) != 1 || write(fd, "b", 1) != 1)
			_exit(CUT_OFF);
		close(fd);
	}
	_exit(errno ? BROKEN : ENDED);
}

static pid_t start(int descriptor_0)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(descriptor_0, STDIN_FILENO);
		serve();
	}
	return pid;
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

static void a_signal_during_a_request_is_not_forgotten(void **state)
{
	(void)state;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(listening, STDIN_FILENO);
		alarm(LIMIT_S);
		if (!listener_start())
			_exit(NOT_STARTED);
		raise(SIGTERM); /* held back until listener_accept */
		_exit(listener_accept() < 0 && errno == 0 ? ENDED : BROKEN);
	}
	assert_int_equal(exit_code(pid), ENDED);
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

static void a_socket_that_was_made_non_blocking_is_waited_for(void **state)
{
	(void)state;
	fcntl(listening, F_SETFL, O_NONBLOCK);
	pid_t pid = start(listening);
	a_round();
	kill(pid, SIGTERM);
	assert_int_equal(exit_code(pid), ENDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_started_by_hand_is_told),
		cmocka_unit_test(each_ending_signal_ends_a_waiting_program),
		cmocka_unit_test(a_request_in_hand_is_finished_first),
		cmocka_unit_test(a_signal_during_a_request_is_not_forgotten),
		cmocka_unit_test(a_caller_that_goes_away_does_not_end_the_program),
		cmocka_unit_test(a_socket_that_was_made_non_blocking_is_waited_for),
	};

	return cmocka_run_group_tests(tests, listen_somewhere, stop_listening);
}
