/*
 * CGI, see cgi.h. State: the one request of this process. Blocks on the web server, for as long as
 * listener.h allows in each direction.
 *
 * No more is read than was announced, because a web server need not close the descriptor after the
 * body; with no length the body ends where descriptor 0 does (Apache does so with a chunked one),
 * and a GET has none. A body that is too large is read all the same: not every web server looks at
 * an answer before it has got rid of the body.
 */
#include "api/cgi.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "api/listener.h"
#include "shared/base/clock.h"

static struct request request;
static char body[REQUEST_BODY_MAX + 1];
static bool is_answered;

void cgi_apologise(struct response *response)
{
	response_error(response, 503, "unavailable: the API cannot start, its log says why");
	cgi_answer(response->bytes, response->len);
}

/* When the configuration is not good. */
static void apologise_at_exit(void)
{
	struct response response = {0};

	if (!is_answered)
		cgi_apologise(&response);
	free(response.bytes);
}

bool cgi_is_asked(void)
{
	const char *interface = getenv("GATEWAY_INTERFACE");

	if (!interface || !*interface || !getenv("REQUEST_METHOD") || listener_is_there())
		return false;
	signal(SIGPIPE, SIG_IGN); /* when the web server has gone away, write(2) says so */
	return atexit(apologise_at_exit) == 0;
}

/* Waits until the descriptor can be read or written. */
static bool wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int64_t left_ms;

	while ((left_ms = deadline_ms - clock_monotonic_ms()) > 0)
		if (poll(&poll_fd, 1, (int)left_ms) > 0)
			return true;
	return false;
}

static bool is_for_now(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

static void read_body(void)
{
	const int64_t deadline_ms = clock_monotonic_ms() + LISTENER_PEER_TIMEOUT_S * 1000;
	unsigned long long left = request.is_announced ? request.announced : ULLONG_MAX;
	bool is_too_large = request.announced > REQUEST_BODY_MAX;
	ssize_t count = 1;

	while (left > 0 && count != 0 && wait_for(STDIN_FILENO, POLLIN, deadline_ms)) {
		size_t room = sizeof(body) - request.body_len;

		count = read(STDIN_FILENO, body + request.body_len, room < left ? room : left);
		if (is_for_now(count))
			continue;
		if (count < 0)
			break;
		left -= (size_t)count;
		request.body_len += (size_t)count;
		is_too_large |= request.body_len > REQUEST_BODY_MAX;
		if (is_too_large)
			request.body_len = 0;
	}
	if (is_too_large)
		request.body_state = REQUEST_BODY_TOO_LARGE;
	else if (request.is_announced ? left > 0 : count != 0)
		request.body_state = REQUEST_BODY_CUT_SHORT;
}

const struct request *cgi_read(void)
{
	request_describe(&request, environ);
	request.body = body;
	if (request.is_announced ||
	    (strcmp(request.method, "GET") != 0 && strcmp(request.method, "HEAD") != 0))
		read_body();
	return &request;
}

void cgi_answer(const char *answer, size_t len)
{
	const int64_t deadline_ms = clock_monotonic_ms() + LISTENER_PEER_TIMEOUT_S * 1000;
	ssize_t count = 0;

	is_answered = true;
	while (len > 0 && (count >= 0 || is_for_now(count)) &&
	       wait_for(STDOUT_FILENO, POLLOUT, deadline_ms)) {
		/* This much never waits once there is room. */
		count = write(STDOUT_FILENO, answer, len < PIPE_BUF ? len : PIPE_BUF);
		if (count > 0) {
			answer += count;
			len -= (size_t)count;
		}
	}
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
}
