/*
 * UNIX sockets on real paths: modes, what is replaced and what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/unix_socket.h"

static char directory[64], path[128];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/unix-socket-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/s", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

#define SOCKET_TEST(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

static mode_t mode_of_path(void)
{
	struct stat info;

	assert_int_equal(lstat(path, &info), 0);
	return info.st_mode & 07777;
}

static void assert_flags(int fd)
{
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void make_file(void)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void a_datagram_arrives(void **state)
{
	(void)state;
	char buffer[8];
	int receiver = unix_datagram_bind(path);
	int sender = unix_connect(path, SOCK_DGRAM);

	assert_flags(receiver);
	assert_flags(sender);
	assert_int_equal(recv(receiver, buffer, sizeof(buffer), 0), -1); /* does not block */
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(send(sender, "hi", 2, 0), 2);
	assert_int_equal(recv(receiver, buffer, sizeof(buffer), 0), 2);
	close(sender);
	close(receiver);
}

static void the_umask_decides_no_mode(void **state)
{
	(void)state;
	static const mode_t masks[] = {0, 022, 0777};
	static const mode_t modes[] = {0600, 0660, 0666, 0};

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		mode_t old_mask = umask(masks[i]);
		int fd = unix_datagram_bind(path);

		assert_int_equal(mode_of_path(), 0600);
		close(fd);
		unlink(path);
		for (size_t j = 0; j < sizeof(modes) / sizeof(modes[0]); j++) {
			fd = unix_stream_listen(path, modes[j], 1);
			assert_flags(fd);
			assert_int_equal(mode_of_path(), modes[j]);
			close(fd);
			unlink(path);
		}
		assert_int_equal(umask(old_mask), masks[i]); /* as it was */
	}
}

static void a_wakeup_socket_replaces_what_is_there(void **state)
{
	(void)state;
	make_file();
	int old = unix_datagram_bind(path);
	assert_true(old >= 0);
	int new = unix_datagram_bind(path); /* also one that lives */
	assert_true(new >= 0);
	int sender = unix_connect(path, SOCK_DGRAM);
	char byte;

	assert_int_equal(send(sender, "!", 1, 0), 1);
	assert_int_equal(recv(old, &byte, 1, 0), -1);
	assert_int_equal(recv(new, &byte, 1, 0), 1);
	close(sender);
	close(new);
	close(old);
}

static void a_tap_may_carry_a_descriptor(void **state)
{
	int sockets[2], ends[2], got;
	char byte = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), 0);
	assert_int_equal(pipe(ends), 0);
	assert_false(unix_receive_fd(sockets[1], &got));
	assert_int_equal(got, -1);
	assert_int_equal(send(sockets[0], "!", 1, 0), 1);
	assert_true(unix_send_fd(sockets[0], ends[1]));
	close(ends[1]);

	assert_true(unix_receive_fd(sockets[1], &got));
	assert_int_equal(got, -1);
	assert_true(unix_receive_fd(sockets[1], &got));
	assert_true(got >= 0 && fcntl(got, F_GETFD) == FD_CLOEXEC);
	assert_int_equal(write(got, "x", 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(got);
	close(ends[0]);

	while (unix_send_fd(sockets[0], sockets[0])) /* until there is no more room */
		;
	close(sockets[0]);
	close(sockets[1]);
}

static void with_nobody_there_a_sender_is_told(void **state)
{
	(void)state;
	assert_int_equal(unix_connect(path, SOCK_DGRAM), -1);
	assert_int_equal(errno, ENOENT);
	close(unix_datagram_bind(path));
	assert_int_equal(unix_connect(path, SOCK_DGRAM), -1);
	assert_int_equal(errno, ECONNREFUSED);
}

static void a_listener_takes_connections(void **state)
{
	(void)state;
	int listener = unix_stream_listen(path, 0600, 4);
	assert_true(listener >= 0);
	int info = 0;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &info, &len), 0);
	assert_int_equal(info, 1);
	close(listener);
}

static void a_stale_socket_is_replaced_and_a_living_one_is_not(void **state)
{
	(void)state;
	close(unix_stream_listen(path, 0600, 4));
	int listener = unix_stream_listen(path, 0600, 0);
	assert_true(listener >= 0);
	assert_int_equal(unix_stream_listen(path, 0600, 4), -1);
	assert_int_equal(errno, EADDRINUSE);

	/* Also when its queue is full: the probes above and here are in it. */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(unix_stream_listen(path, 0600, 4), -1);
		assert_int_equal(errno, EADDRINUSE);
	}
	assert_int_equal(mode_of_path(), 0600); /* it is still there */
	close(listener);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	(void)state;
	make_file();
	assert_int_equal(unix_stream_listen(path, 0600, 4), -1);
	assert_int_equal(errno, ENOTSOCK);
	unlink(path);
	/* A link to a stale socket, which without the link would be replaced. */
	char target[sizeof(path) + 8];
	snprintf(target, sizeof(target), "%s-target", path);
	close(unix_stream_listen(target, 0600, 4));
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(unix_stream_listen(path, 0600, 4), -1);
	assert_int_equal(errno, ENOTSOCK);
	unlink(target);
	unlink(path);
	/* A datagram socket lives there: not ours to take. */
	int other = unix_datagram_bind(path);
	assert_int_equal(unix_stream_listen(path, 0600, 4), -1);
	assert_int_equal(mode_of_path(), 0600);
	close(other);
}

static void a_path_has_a_longest_length(void **state)
{
	(void)state;
	char too_long[UNIX_SOCKET_PATH_MAX + 2];

	memset(too_long, 'x', sizeof(too_long) - 1);
	memcpy(too_long, directory, strlen(directory));
	too_long[strlen(directory)] = '/';
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(unix_datagram_bind(too_long), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(unix_stream_listen(too_long, 0600, 1), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(unix_connect("", SOCK_DGRAM), -1);
	assert_int_equal(errno, ENAMETOOLONG);

	too_long[UNIX_SOCKET_PATH_MAX] = '\0'; /* just fits */
	int fd = unix_datagram_bind(too_long);
	assert_true(fd >= 0);
	close(fd);
	unlink(too_long);
}

static void no_descriptor_is_lost_on_a_failure(void **state)
{
	(void)state;
	int before = dup(STDIN_FILENO);

	close(before);
	make_file();
	unix_stream_listen(path, 0600, 1);
	unix_connect(path, SOCK_DGRAM);
	unix_connect("/nowhere/at/all", SOCK_DGRAM);
	unix_datagram_bind("/nowhere/at/all");
	unix_stream_listen("/nowhere/at/all", 0600, 1);
	unlink(path);
	int listener = unix_stream_listen(path, 0600, 1);
	unix_stream_listen(path, 0600, 1);
	close(listener);
	int after = dup(STDIN_FILENO);
	assert_int_equal(after, before);
	close(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOCKET_TEST(a_datagram_arrives),
		SOCKET_TEST(the_umask_decides_no_mode),
		SOCKET_TEST(a_wakeup_socket_replaces_what_is_there),
		SOCKET_TEST(a_tap_may_carry_a_descriptor),
		SOCKET_TEST(with_nobody_there_a_sender_is_told),
		SOCKET_TEST(a_listener_takes_connections),
		SOCKET_TEST(a_stale_socket_is_replaced_and_a_living_one_is_not),
		SOCKET_TEST(what_is_no_socket_is_left_alone),
		SOCKET_TEST(a_path_has_a_longest_length),
		SOCKET_TEST(no_descriptor_is_lost_on_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
