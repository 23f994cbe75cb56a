/*
 * Taps on real sockets, in a directory of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "shared/base/notify.h"
#include "shared/base/clock.h"
#include "shared/base/unix_socket.h"

static char directory[] = "/tmp/notify-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", directory, WAKEUP_SOCKET_NAME);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static int gateway_start(void)
{
	int fd = unix_datagram_bind(path);

	assert_true(fd >= 0);
	return fd;
}

static int taps_waiting(int fd)
{
	char buffer[16];
	int count = 0;

	while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		count++;
	return count;
}

static void with_nobody_there_nothing_happens(void **state)
{
	(void)state;
	struct notify *notify = notify_new(directory);

	notify_gateway(notify);
	notify_gateway(notify);
	notify_free(notify);
	notify_free(NULL);
}

static void a_gateway_that_comes_later_is_found(void **state)
{
	(void)state;
	struct notify *notify = notify_new(directory);

	notify_gateway(notify);
	int gateway = gateway_start();
	notify_gateway(notify);
	assert_int_equal(taps_waiting(gateway), 1);
	close(gateway);
	unlink(path);
	notify_free(notify);
}

static void the_first_tap_after_a_restart_arrives(void **state)
{
	(void)state;
	struct notify *notify = notify_new(directory);
	int gateway = gateway_start();

	notify_gateway(notify);
	close(gateway);
	gateway = gateway_start();
	notify_gateway(notify);
	assert_int_equal(taps_waiting(gateway), 1);
	notify_gateway(notify);
	assert_int_equal(taps_waiting(gateway), 1);

	/* Away without a trace, and back. */
	close(gateway);
	unlink(path);
	notify_gateway(notify);
	gateway = gateway_start();
	notify_gateway(notify);
	assert_int_equal(taps_waiting(gateway), 1);
	close(gateway);
	unlink(path);
	notify_free(notify);
}

static void a_tap_that_nobody_has_read_yet_does_for_more(void **state)
{
	(void)state;
	struct notify *notify = notify_new(directory), *other = notify_new(directory);
	int gateway = gateway_start();

	for (int i = 0; i < 3; i++) {
		notify_gateway(notify);
		notify_gateway(other); /* of another process: it cannot know */
		notify_gateway(notify);
		assert_int_equal(taps_waiting(gateway), 2);
	}
	close(gateway);
	unlink(path);
	notify_free(other);
	notify_free(notify);
}

static void a_full_queue_never_blocks(void **state)
{
	(void)state;
	enum { TAPS = 900 };
	struct notify *others[TAPS], *notify = notify_new(directory);
	int gateway = gateway_start();
	int64_t start_ms = clock_monotonic_ms();

	alarm(20); /* a tap that blocks would wait for ever */
	for (int i = 0; i < TAPS; i++) {
		others[i] = notify_new(directory);
		notify_gateway(others[i]);
	}
	alarm(0);
	assert_true(clock_monotonic_ms() - start_ms < 10000);
	int waiting = taps_waiting(gateway);
	assert_true(waiting > 0 && waiting < TAPS);
	notify_gateway(notify);
	assert_int_equal(taps_waiting(gateway), 1);
	for (int i = 0; i < TAPS; i++)
		notify_free(others[i]);
	close(gateway);
	unlink(path);
	notify_free(notify);
}

static void a_state_dir_too_long_for_a_socket_is_left_alone(void **state)
{
	(void)state;
	char long_path[UNIX_SOCKET_PATH_MAX + 1];

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	struct notify *notify = notify_new(long_path);
	notify_gateway(notify);
	notify_free(notify);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_nobody_there_nothing_happens),
		cmocka_unit_test(a_gateway_that_comes_later_is_found),
		cmocka_unit_test(the_first_tap_after_a_restart_arrives),
		cmocka_unit_test(a_tap_that_nobody_has_read_yet_does_for_more),
		cmocka_unit_test(a_full_queue_never_blocks),
		cmocka_unit_test(a_state_dir_too_long_for_a_socket_is_left_alone),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
