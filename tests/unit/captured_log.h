/*
 * For tests of what the log writes: stderr is a socket that keeps each write(2) apart. Include it
 * once, in the test program.
 */
#ifndef TESTS_UNIT_CAPTURED_LOG_H
#define TESTS_UNIT_CAPTURED_LOG_H

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static int capture[2]; /* [1] takes the place of stderr */
static int real_stderr;
static char written[8192]; /* the last write */

/* stderr is ours for the time of one statement, so that cmocka can say what it has to. */
#define CAPTURED(statement)                                                                        \
	do {                                                                                       \
		dup2(capture[1], STDERR_FILENO);                                                   \
		statement;                                                                         \
		dup2(real_stderr, STDERR_FILENO);                                                  \
	} while (0)

/* False when it could not be done. */
static bool start_capture(void)
{
	real_stderr = dup(STDERR_FILENO);
	return real_stderr >= 0 &&
	       socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, capture) == 0;
}

static int stop_capture(void **state)
{
	(void)state;
	close(capture[0]);
	close(capture[1]);
	return close(real_stderr);
}

/* What the next write(2) was given; "" when there was none. */
static const char *next_write(void)
{
	ssize_t len = recv(capture[0], written, sizeof(written) - 1, 0);

	written[len > 0 ? len : 0] = '\0';
	return written;
}

#endif
