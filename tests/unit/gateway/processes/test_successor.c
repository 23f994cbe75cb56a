// needs: gateway/processes/successor.c
// links: uv
/*
 * Successors, which are shells here: one that serves, one that ends, one that hangs, one that is
 * not there. And what is handed down, by a descriptor's number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "shared/base/signals.h"
#include "gateway/processes/successor.h"
#include "tests/unit/captured_log.h"

#define SAY_READY "set -- $WAVELOG_WORKER_INHERITS; printf x >/proc/self/fd/$3; "

enum { LIMIT_MS = 300, LONG_MS = 60000 };

static uv_loop_t loop;
static uv_poll_t signals;
static struct successor *successor;
static struct inheritance mine;
static char loopback[] = "127.0.0.1";
static struct config config = {.ws_bind = loopback, .ws_port = 9000};
static int told_times, signals_fd;
static bool told;

static void on_told(void *context)
{
	assert_ptr_equal(context, &mine);
	told_times++;
	told = successor_settle(&successor);
	uv_stop(&loop);
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
	(void)poll;
	(void)status;
	(void)events;
	assert_int_equal(signals_next(signals_fd), SIGCHLD);
	successor_reap(successor);
}

static int open_loop(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	uv_poll_init(&loop, &signals, signals_fd);
	uv_poll_start(&signals, UV_READABLE, on_signal);
	told_times = 0;
	mine = (struct inheritance){.service_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	return 0;
}

static int close_loop(void **state)
{
	(void)state;
	successor_free(successor);
	successor = NULL;
	close(mine.service_fd);
	uv_close((uv_handle_t *)&signals, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

#define SUCCESSOR_TEST(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)

static void start(const char *script, int64_t limit_ms)
{
	static char program[] = "/bin/sh", option[] = "-c", text[512];
	static char *argv[] = {program, option, text, NULL};

	snprintf(text, sizeof(text), "%s", script);
	mine.argv = argv;
	successor = successor_start(&loop, &mine, &config, limit_ms, on_told, &mine);
	assert_non_null(successor);
}

static void assert_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void assert_logged(const char *first, const char *second)
{
	const char *line = next_write();

	assert_non_null(strstr(line, first));
	assert_non_null(strstr(line, second));
}

/* Until somebody is told. */
static void run(void)
{
	CAPTURED(uv_run(&loop, UV_RUN_DEFAULT));
	assert_int_equal(told_times, 1);
}

static void one_that_hangs_is_killed(void **state)
{
	(void)state;
	start("exec sleep 60", LIMIT_MS);
	uint64_t start_ms = uv_now(&loop);
	run();
	assert_false(told);
	assert_true(uv_now(&loop) - start_ms >= LIMIT_MS);
	assert_logged("the successor does not come up, killing it", " after_ms=300");
	assert_logged("the successor did not start", " code=0 signal=9");
	assert_no_child();
}

static void one_that_ends_is_reaped(void **state)
{
	(void)state;
	start("exit 78", LONG_MS);
	run();
	assert_false(told);
	assert_logged("the successor did not start", " code=78 signal=0");
	assert_no_child();
}

static void one_that_serves_goes_on_alone(void **state)
{
	(void)state;
	int status, talk[2];
	char script[256];

	assert_int_equal(pipe(talk), 0);
	snprintf(script, sizeof(script), SAY_READY "read line </proc/self/fd/%d", talk[0]);
	start(script, LONG_MS);
	run();
	assert_true(told);
	successor_free(successor);
	successor = NULL;
	assert_int_equal(waitpid(-1, &status, WNOHANG), 0); /* it runs, until it has read a line */
	assert_int_equal(write(talk[1], "\n", 1), 1);
	assert_true(waitpid(-1, &status, 0) > 0);
	assert_int_equal(status, 0);
	close(talk[0]);
	close(talk[1]);
}

static void one_that_does_not_serve_ends_with_us(void **state)
{
	(void)state;
	int status;

	start("exec sleep 60", LONG_MS);
	assert_false(successor_settle(&successor));
	assert_null(successor);
	assert_true(waitpid(-1, &status, 0) > 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void one_that_is_not_there_is_said(void **state)
{
	(void)state;
	static char program[] = "/nowhere/at/all";
	static char *argv[] = {program, NULL};

	mine.argv = argv;
	CAPTURED(successor = successor_start(&loop, &mine, &config, LONG_MS, on_told, &mine));
	assert_null(successor);
	assert_logged("cannot start a successor", "No such file or directory");
	assert_int_equal(told_times, 0);
}

/* What it would find, in a program that is one of ours. */
static struct inheritance inherited(const char *text, bool is_known)
{
	static char name[] = "gateway", *argv[] = {name, NULL};
	struct inheritance inheritance;
	bool is_taken;

	setenv("WAVELOG_WORKER_INHERITS", text, 1);
	CAPTURED(is_taken = inheritance_take(&inheritance, &config, argv));
	assert_int_equal(is_taken, is_known);
	unsetenv("WAVELOG_WORKER_INHERITS");
	return inheritance;
}

static void what_is_handed_down_arrives(void **state)
{
	(void)state;
	int fds[4];
	char text[128];

	for (int i = 0; i < 4; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	snprintf(text, sizeof(text), "v2 %d %d 2 %d %d 127.0.0.1 9000", fds[0], fds[1], fds[2],
		 fds[3]);
	struct inheritance all = inherited(text, true);
	assert_int_equal(all.service_fd, fds[0]);
	assert_int_equal(all.ready_fd, fds[1]);
	assert_int_equal(all.listen_count, 2);
	assert_int_equal(all.listen_fds[0], fds[2]);
	assert_int_equal(all.listen_fds[1], fds[3]);
	for (int i = 0; i < 4; i++)
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	free(all.directory);

	/* Sockets that listen elsewhere are of no use. */
	text[strlen(text) - 1] = '1';
	all = inherited(text, true);
	assert_int_equal(all.service_fd, fds[0]);
	assert_int_equal(all.listen_count, 0);
	assert_int_equal(fcntl(fds[2], F_GETFD), -1);
	assert_int_equal(fcntl(fds[3], F_GETFD), -1);
	free(all.directory);
	close(fds[0]);
	close(fds[1]);
}

static void a_form_of_another_version_is_refused(void **state)
{
	(void)state;
	static const char *const forms[] = {"1 127.0.0.1 9000", "v3 3 4 1 5 127.0.0.1 9000", "",
					    "v20 3 4 0 127.0.0.1 9000"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct inheritance none = inherited(forms[i], false);

		assert_logged("cannot take over from a gateway of another version", "");
		assert_int_equal(none.service_fd, -1);
		free(none.directory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SUCCESSOR_TEST(one_that_hangs_is_killed),
		SUCCESSOR_TEST(one_that_ends_is_reaped),
		SUCCESSOR_TEST(one_that_serves_goes_on_alone),
		SUCCESSOR_TEST(one_that_does_not_serve_ends_with_us),
		SUCCESSOR_TEST(one_that_is_not_there_is_said),
		cmocka_unit_test(what_is_handed_down_arrives),
		cmocka_unit_test(a_form_of_another_version_is_refused),
	};

	signals_fd = signals_open();
	return start_capture() ? cmocka_run_group_tests(tests, NULL, stop_capture) : EXIT_FAILURE;
}
