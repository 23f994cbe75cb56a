// needs: gateway/door/listener.c
// links: uv
/* Accepting when accept(2) fails, and goes on failing: the loop has other work to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/door/listener.h"
#include "gateway/door/upgrade.h"

static int begun;

void upgrade_begin(struct upgrades *upgrades, int fd, const struct sockaddr *peer)
{
	(void)upgrades;
	(void)peer;
	close(fd);
	begun++;
}

/* A datagram socket is as readable as a listening one, but nobody can be accepted from it. */
static void an_error_that_stays_does_not_keep_the_loop(void **state)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(here);
	const struct config config = {.ws_bind = (char[]){""}};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct listener *listener;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	assert_int_equal(bind(fd, (struct sockaddr *)&here, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &len), 0);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&here, len), 1);
	listener = listener_open(&config, fd, &loop);
	listener_start(listener, (struct upgrades *)&loop);
	alarm(20);
	assert_int_not_equal(uv_run(&loop, UV_RUN_ONCE), 0);
	listener_leave(listener); /* which takes whoever is left */
	alarm(0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(begun, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_that_stays_does_not_keep_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
