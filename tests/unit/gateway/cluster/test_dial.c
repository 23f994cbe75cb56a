// needs: gateway/cluster/dial.c
// links: uv
/*
 * Sockets that are connected: to whichever address answers, in time, and nothing is left of those
 * that were given up. The system's names would depend on the system, so look-ups are this file's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/cluster/dial.h"

enum { TIMES = 500, LIMIT_MS = 10000 };

static uv_loop_t loop;
static uv_timer_t limit;
static struct redis_url url = {.port = 1};
static struct dial *dial;
static int sockets[DIAL_SOCKETS_MAX];
static size_t wanted;
static char why[DIAL_WHY_SIZE];

/* What a look-up of any name says: ports of 127.0.0.1. */
static struct {
	unsigned ports[DIAL_ADDRESSES_MAX];
	size_t count;
	bool is_slow; /* the next one waits for `goes_on`, and those after it fail */
	atomic_int begun;
	sem_t goes_on;
} names;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	static _Thread_local struct sockaddr_in addresses[DIAL_ADDRESSES_MAX];
	static _Thread_local struct addrinfo found[DIAL_ADDRESSES_MAX];
	bool is_first = names.begun++ == 0;

	(void)host;
	(void)service;
	(void)hints;
	if (names.is_slow && is_first)
		sem_wait(&names.goes_on);
	else if (names.is_slow)
		return EAI_NONAME;
	for (size_t i = 0; i < names.count; i++) {
		uv_ip4_addr("127.0.0.1", (int)names.ports[i], &addresses[i]);
		found[i] = (struct addrinfo){
			.ai_family = AF_INET,
			.ai_addr = (struct sockaddr *)&addresses[i],
			.ai_addrlen = sizeof(addresses[i]),
			.ai_next = i + 1 < names.count ? &found[i + 1] : NULL,
		};
	}
	*out = found;
	return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
	(void)found;
}

static int listen_at(int backlog, unsigned *port)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	uv_ip4_addr("127.0.0.1", 0, &address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static unsigned port_of_peer(int fd)
{
	struct sockaddr_in address = {0};
	socklen_t size = sizeof(address);

	assert_int_equal(getpeername(fd, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin_port);
}

static size_t descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void on_dialed(void *context, const int *done, const char *reason)
{
	(void)context;
	assert_true(done ? !*reason : *reason);
	snprintf(why, sizeof(why), "%s", reason);
	for (size_t i = 0; done && i < wanted; i++)
		sockets[i] = done[i];
	dial_close(dial);
	dial = NULL;
}

static void begin(size_t count)
{
	wanted = count;
	dial = dial_start(&loop, &url, count, on_dialed, NULL);
	assert_non_null(dial);
}

/* Until it is done. */
static void finish(void)
{
	while (dial && uv_run(&loop, UV_RUN_ONCE) != 0)
		;
}

static void on_limit(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("it takes too long: %s", why);
}

static int set_up(void **state)
{
	static int tests;

	(void)state;
	snprintf(url.host, sizeof(url.host), "%d.test", ++tests); /* not what another test's was */
	memset(&names, 0, sizeof(names));
	sem_init(&names.goes_on, 0, 0);
	uv_loop_init(&loop);
	uv_timer_init(&loop, &limit);
	uv_timer_start(&limit, on_limit, LIMIT_MS, 0);
	uv_unref((uv_handle_t *)&limit);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	uv_close((uv_handle_t *)&limit, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void all_sockets_are_of_one_address_the_first_that_answers(void **state)
{
	unsigned full_port, port, other_port;
	int full = listen_at(0, &full_port), listener = listen_at(8, &port),
	    other = listen_at(8, &other_port);
	int plugs[2];

	(void)state;
	/* The queue is full: further attempts are dropped, as by a firewall. */
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in address;

		uv_ip4_addr("127.0.0.1", (int)full_port, &address);
		plugs[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(plugs[i], (struct sockaddr *)&address, sizeof(address)) != 0)
			assert_int_equal(errno, EINPROGRESS);
	}
	names.ports[0] = 1;
	names.ports[1] = full_port;
	names.ports[2] = port;
	names.ports[3] = other_port;
	names.count = 4;
	begin(3);
	finish();
	assert_string_equal(why, "");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(port_of_peer(sockets[i]), port);
		close(sockets[i]);
	}
	names.ports[1] = 1;
	names.count = 2;
	begin(3);
	finish();
	assert_string_equal(why, "cannot connect: connection refused");
	for (size_t i = 0; i < 2; i++)
		close(plugs[i]);
	close(full);
	close(listener);
	close(other);
}

static void what_is_unsent_when_it_is_closed_is_never_sent(void **state)
{
	int listener = listen_at(1, &names.ports[0]), peer;
	char byte;

	(void)state;
	names.count = 1;
	begin(1);
	finish();
	peer = accept(listener, NULL, NULL);
	close(*sockets);
	assert_int_equal(recv(peer, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(peer);
	close(listener);
}

static void what_a_look_up_brings_too_late_serves_the_next_attempt(void **state)
{
	int listener = listen_at(8, &names.ports[0]);

	(void)state;
	names.count = 1;
	names.is_slow = true;
	begin(1);
	while (!names.begun)
		uv_run(&loop, UV_RUN_NOWAIT);
	dial_close(dial);
	sem_post(&names.goes_on);
	do {
		begin(1);
		finish();
	} while (strstr(why, "cannot look up the host")); /* the first one is still on its way */
	assert_string_equal(why, "");
	assert_int_equal(port_of_peer(*sockets), names.ports[0]);
	close(*sockets);
	close(listener);
}

static void nothing_is_left_of_many_attempts_done_or_given_up(void **state)
{
	int listener = listen_at(4096, &names.ports[0]);
	size_t before = 0;

	(void)state;
	names.count = 1;
	for (int i = 0; i < TIMES; i++) {
		begin(3);
		if (i % 2 == 0) {
			dial_close(dial);
			dial = NULL;
		}
		finish();
		for (size_t number = 0; i % 2 == 1 && number < 3; number++) {
			assert_string_equal(why, "");
			close(sockets[number]);
			close(accept(listener, NULL, NULL));
		}
		uv_run(&loop, UV_RUN_NOWAIT);
		if (i == TIMES / 10)
			before = descriptors();
	}
	for (int i = 0; i < LIMIT_MS && descriptors() > before; i++)
		usleep(1000); /* the last threads end */
	assert_true(descriptors() <= before);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			all_sockets_are_of_one_address_the_first_that_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_unsent_when_it_is_closed_is_never_sent,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_look_up_brings_too_late_serves_the_next_attempt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_left_of_many_attempts_done_or_given_up,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
