/*
 * FastCGI in and out, by libfcgi; see request.h. State: the connection in hand and its buffers for
 * the life of the process. Blocks on the web server, at most LISTENER_PEER_TIMEOUT_S for a request.
 * A connection that does not speak proper FastCGI is closed, and the next one taken.
 *
 * What libfcgi does not do is done around it. Its accept sets no timeout before it reads:
 * listener.c accepts, and hands the connection over. It believes whatever length a parameter
 * claims, and ends the program when there is no memory for it: the parameters are looked at before
 * it reads them. It waits for as long as there is a byte now and then: a timer ends the input of a
 * request that has not come in time. Its close waits for the web server to close first, so that
 * unread input cannot reset the connection: the input is always read to its end.
 */
#include "api/request.h"

#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/listener.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum { DISCARDS_MAX = 64 }; /* reads of what a broken request is followed by */

struct requests {
	FCGX_Request fastcgi;
	int epoll_fd;
	timer_t timer;
	bool has_timer, is_timed; /* is_timed: the request in hand */
	struct request request;
	unsigned char arrived[REQUEST_PARAMETERS_MAX], parameters[REQUEST_PARAMETERS_MAX];
	char body[REQUEST_BODY_MAX + 1];
};

static volatile sig_atomic_t read_fd = -1;

static void end_input(int number)
{
	(void)number;
	shutdown(read_fd, SHUT_RD);
}

/* 0 calls that off. */
static void end_input_in(struct requests *requests, time_t seconds)
{
	const struct itimerspec when = {.it_value.tv_sec = seconds};

	timer_settime(requests->timer, 0, &when, NULL);
}

struct requests *requests_open(void)
{
	struct requests *requests = xcalloc(1, sizeof(*requests));
	const struct sigaction action = {.sa_handler = end_input, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};

	requests->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (requests->epoll_fd < 0) {
		free(requests);
		return NULL;
	}
	sigaction(SIGRTMIN, &action, NULL);
	requests->has_timer = timer_create(CLOCK_MONOTONIC, &event, &requests->timer) == 0;
	FCGX_Init();
	/* No descriptor to listen on: libfcgi must not accept by itself, see take. */
	FCGX_InitRequest(&requests->fastcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR);
	return requests;
}

void requests_close(struct requests *requests)
{
	if (!requests)
		return;
	requests_done(requests);
	if (requests->has_timer)
		timer_delete(requests->timer);
	close(requests->epoll_fd);
	free(requests);
}

/* Takes a length, of one byte or of four, off the beginning of what is between *at and `end`. */
static bool read_length(const unsigned char **at, const unsigned char *end, size_t *length)
{
	const unsigned char *bytes = *at;
	size_t size = bytes < end && bytes[0] >= 0x80 ? 4 : 1;

	if ((size_t)(end - bytes) < size)
		return false;
	*length = size == 1 ? bytes[0]
			    : (size_t)(bytes[0] & 0x7f) << 24 | (size_t)bytes[1] << 16 |
				      (size_t)bytes[2] << 8 | bytes[3];
	*at += size;
	return true;
}

/* What has arrived of a request: a part of its parameters, all of them, or everything. */
enum arrival { BROKEN, PART, PARAMETERS, WHOLE };

/* A record is a header of eight bytes, content and padding. A request is BEGIN_REQUEST, then the
 * streams PARAMS and STDIN, each in any number of records, of which the last one is empty. */
static enum arrival judge(struct requests *requests, size_t len)
{
	enum arrival arrival = PART;
	size_t content_len, parameters_len = 0, first_id = 0, name_len, value_len;

	for (size_t at = 0; at + FCGI_HEADER_LEN <= len && arrival != WHOLE; at += content_len) {
		const FCGI_Header *header = (const FCGI_Header *)(requests->arrived + at);

		content_len = (size_t)header->contentLengthB1 << 8 | header->contentLengthB0;
		size_t id = (size_t)header->requestIdB1 << 8 | header->requestIdB0;
		if (at == 0)
			first_id = id;
		/* Until its parameters are complete, nothing but what belongs to the request. */
		if (header->version != FCGI_VERSION_1 ||
		    (arrival == PART &&
		     (id != first_id || id == FCGI_NULL_REQUEST_ID ||
		      header->type != (at == 0 ? FCGI_BEGIN_REQUEST : FCGI_PARAMS))))
			return BROKEN;
		at += FCGI_HEADER_LEN;
		if (at + content_len + header->paddingLength > len)
			break;
		if (arrival == PART && header->type == FCGI_PARAMS) {
			memcpy(requests->parameters + parameters_len, requests->arrived + at,
			       content_len);
			parameters_len += content_len;
		}
		if (content_len == 0 &&
		    header->type == (arrival == PART ? FCGI_PARAMS : FCGI_STDIN))
			arrival++;
		content_len += header->paddingLength;
	}
	const unsigned char *at = requests->parameters, *end = at + parameters_len;
	for (; arrival != PART && at < end; at += name_len + value_len)
		if (!read_length(&at, end, &name_len) || !read_length(&at, end, &value_len) ||
		    name_len + value_len > (size_t)(end - at))
			return BROKEN;
	return arrival;
}

/* Waits for the parameters without taking them: they have to fit into what the kernel buffers for a
 * connection. False when they are broken, or do not come. */
static bool await_parameters(struct requests *requests, int fd, bool *is_whole)
{
	const int64_t deadline_ms = clock_monotonic_ms() + LISTENER_PEER_TIMEOUT_S * 1000;
	/* Edge-triggered, for what has arrived stays unread: mod_proxy_fcgi sends in pieces. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
	int64_t left_ms;
	ssize_t len, before = 0;

	for (;; before = len) {
		len = recv(fd, requests->arrived, sizeof(requests->arrived), MSG_PEEK);
		if (len < 0 && errno == EINTR) /* stopped and continued */
			continue;
		if (len <= 0)
			return false;

		enum arrival arrival = judge(requests, (size_t)len);
		*is_whole = arrival == WHOLE;
		if (arrival != PART)
			return arrival != BROKEN;
		if (before == 0 && epoll_ctl(requests->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
			return false;
		left_ms = deadline_ms - clock_monotonic_ms();
		if ((size_t)len == sizeof(requests->arrived) || left_ms <= 0 ||
		    (len == before && event.events & EPOLLRDHUP))
			return false;
		event.events = 0;
		epoll_wait(requests->epoll_fd, &event, 1, (int)left_ms);
	}
}

static bool take(struct requests *requests, int fd)
{
	FCGX_Request *fastcgi = &requests->fastcgi;
	int discards = DISCARDS_MAX;
	bool is_whole;

	if (!await_parameters(requests, fd, &is_whole)) {
		/* With unread input this would be a reset. */
		while (discards-- > 0 &&
		       recv(fd, requests->arrived, sizeof(requests->arrived), MSG_DONTWAIT) > 0)
			;
		close(fd);
		return false;
	}
	read_fd = fd;
	requests->is_timed = requests->has_timer && !is_whole;
	if (requests->is_timed)
		end_input_in(requests, LISTENER_PEER_TIMEOUT_S);
	/* To libfcgi this is a connection that was kept open for another request. If no good
	 * request comes it closes it, and fails to accept another. */
	fastcgi->ipcFd = fd;
	fastcgi->keepConnection = 1;
	FCGX_Detach(fastcgi); /* close without waiting for the other side */
	if (FCGX_Accept_r(fastcgi) != 0) {
		if (requests->is_timed)
			end_input_in(requests, 0);
		return false;
	}
	/* A process that waits on a kept connection is lost to all others. */
	fastcgi->keepConnection = 0;
	return true;
}

static const char *parameter(char **variables, const char *name)
{
	const char *value = FCGX_GetParam(name, variables);

	return value ? value : "";
}

void request_describe(struct request *request, char **variables)
{
	const char *length = parameter(variables, "CONTENT_LENGTH");
	char *end;

	request->method = parameter(variables, "REQUEST_METHOD");
	request->script_name = parameter(variables, "SCRIPT_NAME");
	request->path_info = parameter(variables, "PATH_INFO");
	request->uri = parameter(variables, "REQUEST_URI");
	request->query = parameter(variables, "QUERY_STRING");
	request->secret = parameter(variables, "HTTP_X_WORKER_SECRET");
	request->authorization = parameter(variables, "HTTP_AUTHORIZATION");
	request->origin = parameter(variables, "HTTP_ORIGIN");
	request->address = parameter(variables, "REMOTE_ADDR");
	request->forwarded_for = parameter(variables, "HTTP_X_FORWARDED_FOR");
	request->announced = strtoull(length, &end, 10);
	request->is_announced = *length >= '0' && *length <= '9' && *end == '\0';
	if (!request->is_announced)
		request->announced = 0;
}

enum requests_state requests_next(struct requests *requests, const struct request **next)
{
	struct request *request = &requests->request;
	const int room = sizeof(requests->body);

	*next = request;
	for (bool is_taken = false; !is_taken;) {
		int fd = listener_accept();

		if (fd < 0)
			return fd == LISTENER_IDLE ? REQUESTS_IDLE : REQUESTS_END;
		is_taken = take(requests, fd);
	}
	request_describe(request, requests->fastcgi.envp);
	FCGX_Stream *in = requests->fastcgi.in;
	size_t len = (size_t)FCGX_GetStr(requests->body, room, in);
	request->body = requests->body;
	request->body_len = len;
	if (request->announced > REQUEST_BODY_MAX || len > REQUEST_BODY_MAX)
		request->body_state = REQUEST_BODY_TOO_LARGE;
	else if (FCGX_GetError(in) != 0 || len < request->announced)
		request->body_state = REQUEST_BODY_CUT_SHORT;
	else
		request->body_state = REQUEST_BODY_WHOLE;
	/* A web server that cannot get rid of the body may not look at the answer. */
	while (len > 0)
		len = (size_t)FCGX_GetStr(requests->body, room, in);
	if (requests->is_timed)
		end_input_in(requests, 0);
	return REQUESTS_ONE;
}

void requests_answer(struct requests *requests, const char *answer, size_t len)
{
	FCGX_PutStr(answer, (int)len, requests->fastcgi.out);
	FCGX_FClose(requests->fastcgi.err);
	/* The last one to close says that the request is done. */
	FCGX_FClose(requests->fastcgi.out);
}

void requests_done(struct requests *requests)
{
	FCGX_Finish_r(&requests->fastcgi);
	memset(&requests->request, 0, sizeof(requests->request));
}
