/* Listening at an address of TCP, and what people are told about where a socket listens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "shared/base/tcp_socket.h"

static void a_place_is_written_as_options_and_the_log_have_it(void **state)
{
	union socket_address ipv4 = {.ipv4 = {.sin_family = AF_INET, .sin_port = htons(9000)}};
	union socket_address ipv6 = {.ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)}};
	union socket_address path = {.path = {.sun_family = AF_UNIX}};
	char place[SOCKET_PLACE_SIZE];

	(void)state;
	ipv4.ipv4.sin_addr.s_addr = htonl(0xc0000201);
	socket_place(&ipv4, place);
	assert_string_equal(place, "192.0.2.1:9000");
	socket_place(&ipv6, place);
	assert_string_equal(place, "[::]:1");
	memset(path.path.sun_path, 'x', sizeof(path.path.sun_path) - 1);
	socket_place(&path, place);
	assert_int_equal(strlen(place), strlen(SOCKET_UNIX_PREFIX) + 107);
	assert_memory_equal(place, "unix:xxx", 8);
}

static void a_port_is_for_one_socket_unless_all_share_it(void **state)
{
	union socket_address address = {.ipv4 = {.sin_family = AF_INET}};
	socklen_t len = sizeof(address);
	char place[SOCKET_PLACE_SIZE];

	(void)state;
	address.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int one = tcp_bind(&address, true, 1);
	assert_true(one >= 0);
	assert_int_equal(getsockname(one, &address.any, &len), 0);
	socket_place_of(one, place);
	assert_memory_equal(place, "127.0.0.1:", 10);
	assert_int_equal(strtol(place + 10, NULL, 10), ntohs(address.ipv4.sin_port));
	assert_int_equal(tcp_bind(&address, false, 0), -1);
	assert_int_equal(errno, EADDRINUSE);
	int two = tcp_bind(&address, true, 1);
	assert_true(two >= 0);
	close(one);
	close(two);
	int alone = tcp_bind(&address, false, 1);
	assert_true(alone >= 0);
	assert_int_equal(tcp_bind(&address, true, 1), -1);
	assert_int_equal(errno, EADDRINUSE);
	close(alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_written_as_options_and_the_log_have_it),
		cmocka_unit_test(a_port_is_for_one_socket_unless_all_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
