/*
 * What is told to a service manager, on real sockets: by path and by abstract name, and nothing
 * without one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/service_manager.h"
#include "shared/base/unix_socket.h"

static void assert_told(int fd)
{
	char expected[64], got[64] = "";

	snprintf(expected, sizeof(expected), "READY=1\nMAINPID=%ld\n", (long)getpid());
	assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT), strlen(expected));
	assert_string_equal(got, expected);
}

static void the_main_pid_is_told_on_a_path(void **state)
{
	(void)state;
	char path[] = "/tmp/notify-manager-XXXXXX";
	int file = mkstemp(path);
	int fd = unix_datagram_bind(path);

	close(file);
	setenv("NOTIFY_SOCKET", path, 1);
	service_manager_ready();
	assert_told(fd);
	close(fd);
	unlink(path);
	service_manager_ready(); /* nobody is there any more */
}

static void the_main_pid_is_told_on_an_abstract_name(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char name[32];
	int len = snprintf(name, sizeof(name), "@notify-%ld", (long)getpid());

	memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
	assert_return_code(bind(fd, (struct sockaddr *)&address,
				(socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
			   0);
	setenv("NOTIFY_SOCKET", name, 1);
	service_manager_ready();
	assert_told(fd);
	close(fd);
}

static void without_a_manager_nothing_happens(void **state)
{
	(void)state;
	char long_path[200] = "/";

	unsetenv("NOTIFY_SOCKET");
	service_manager_ready();
	setenv("NOTIFY_SOCKET", "", 1);
	service_manager_ready();
	memset(long_path + 1, 'x', sizeof(long_path) - 2);
	long_path[sizeof(long_path) - 1] = '\0';
	setenv("NOTIFY_SOCKET", long_path, 1);
	service_manager_ready();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_main_pid_is_told_on_a_path),
		cmocka_unit_test(the_main_pid_is_told_on_an_abstract_name),
		cmocka_unit_test(without_a_manager_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
