/*
 * FastCGI in and out, by libfcgi; see request.h. State: the connection in hand and one body buffer
 * for the life of the process. Blocks on the web server, at most LISTENER_PEER_TIMEOUT_S without a
 * byte. A connection that does not speak proper FastCGI is closed, and the next one taken.
 *
 * Two things that libfcgi does are avoided here. Its accept sets no timeout before it reads, so a
 * web server that stops in the middle of a header would hold the process for ever: instead
 * listener.c accepts the connection and hands it over. Its close waits for the web server to close
 * first, so that unread input cannot reset the connection: here the input is always read to its
 * end.
 */
#include "api/request.h"

#include <errno.h>
#include <fcgiapp.h>

#include "api/listener.h"
#include "shared/base/alloc.h"

struct requests {
	FCGX_Request fastcgi;
	struct request request;
	char *body; /* REQUEST_BODY_MAX + 1 bytes */
};

struct requests *requests_open(void)
{
	struct requests *requests = xcalloc(1, sizeof(*requests));

	FCGX_Init();
	/* No descriptor to listen on: libfcgi must not accept by itself, see next_connection. */
	FCGX_InitRequest(&requests->fastcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR);
	requests->body = xcalloc(1, REQUEST_BODY_MAX + 1);
	return requests;
}

void requests_close(struct requests *requests)
{
	if (!requests)
		return;
	requests_done(requests);
	free(requests->body);
	free(requests);
}

static enum requests_state next_connection(FCGX_Request *fastcgi)
{
	for (;;) {
		int fd = listener_accept();

		if (fd < 0)
			return fd == LISTENER_IDLE ? REQUESTS_IDLE : REQUESTS_END;
		/* To libfcgi this is a connection that was kept open for another request. If no
		 * good request comes it closes it, and fails to accept another. */
		fastcgi->ipcFd = fd;
		fastcgi->keepConnection = 1;
		FCGX_Detach(fastcgi); /* close without waiting for the other side */
		if (FCGX_Accept_r(fastcgi) == 0)
			break;
	}
	/* A process that waits on a kept connection is lost to all others. */
	fastcgi->keepConnection = 0;
	return REQUESTS_ONE;
}

static const char *parameter(const struct requests *requests, const char *name)
{
	const char *value = FCGX_GetParam(name, requests->fastcgi.envp);

	return value ? value : "";
}

/* False when none was announced: the body then ends where the stream does. */
static bool announced_length(const struct requests *requests, unsigned long long *length)
{
	const char *text = parameter(requests, "CONTENT_LENGTH");
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*length = strtoull(text, &end, 10); /* ULLONG_MAX when it does not fit: too large */
	return *end == '\0';
}

static void read_body(struct requests *requests)
{
	FCGX_Stream *in = requests->fastcgi.in;
	struct request *request = &requests->request;
	const int room = REQUEST_BODY_MAX + 1;
	unsigned long long announced = 0;
	bool is_announced = announced_length(requests, &announced);
	size_t len = (size_t)FCGX_GetStr(requests->body, room, in);

	request->body = requests->body;
	request->body_len = len;
	if (announced > REQUEST_BODY_MAX || len > REQUEST_BODY_MAX)
		request->body_state = REQUEST_BODY_TOO_LARGE;
	else if (FCGX_GetError(in) != 0 || (is_announced && len < announced))
		request->body_state = REQUEST_BODY_CUT_SHORT;
	else
		request->body_state = REQUEST_BODY_WHOLE;

	/* A web server that cannot get rid of the body may not look at the answer. */
	while (len > 0)
		len = (size_t)FCGX_GetStr(requests->body, room, in);
}

enum requests_state requests_next(struct requests *requests, const struct request **next)
{
	struct request *request = &requests->request;
	enum requests_state state = next_connection(&requests->fastcgi);

	*next = request;
	if (state != REQUESTS_ONE)
		return state;
	request->method = parameter(requests, "REQUEST_METHOD");
	request->script_name = parameter(requests, "SCRIPT_NAME");
	request->path_info = parameter(requests, "PATH_INFO");
	request->uri = parameter(requests, "REQUEST_URI");
	request->query = parameter(requests, "QUERY_STRING");
	request->secret = parameter(requests, "HTTP_X_WORKER_SECRET");
	read_body(requests);
	return REQUESTS_ONE;
}

void requests_answer(struct requests *requests, const char *answer, size_t len)
{
	FCGX_PutStr(answer, (int)len, requests->fastcgi.out);
	FCGX_FClose(requests->fastcgi.err);
	FCGX_FClose(
		requests->fastcgi.out); /* the last one to close says that the request is done */
}

void requests_done(struct requests *requests)
{
	FCGX_Finish_r(&requests->fastcgi);
	memset(&requests->request, 0, sizeof(requests->request));
}
