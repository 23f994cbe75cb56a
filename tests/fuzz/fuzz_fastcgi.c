// needs: api/request.c
// links: fcgi
/*
 * Any bytes as what a web server sends on a connection. What is taken for a request lies within
 * them, and its answer is one.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/listener.h"
#include "api/request.h"

enum { LONGEST = 16384 };

static int connection = -1;

/* libfcgi forgets the parameters of a request that it gives up on. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfcgi";
}

int listener_accept(void)
{
	int fd = connection;

	connection = -1;
	return fd;
}

static void check(struct requests *requests, const struct request *request, size_t size)
{
	const char *const texts[] = {request->method, request->script_name, request->path_info,
				     request->uri,    request->query,	    request->secret};
	size_t total = request->body_len;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		total += strlen(texts[i]);
	assert(total < size);
	requests_answer(requests, "answer", 6);
	requests_done(requests);
}

/* A record of no request, which libfcgi reads by itself once the parameters are through. */
static bool has_management(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at + 8 <= size;
	     at += 8 + (size_t)(data[at + 4] << 8 | data[at + 5]) + data[at + 6])
		if (data[at + 2] == 0 && data[at + 3] == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct requests *requests;
	const struct request *request;
	char answer[64];
	int pair[2];

	if (!requests)
		requests = requests_open();
	if (size > LONGEST || has_management(data, size) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return -1;
	assert(write(pair[0], data, size) == (ssize_t)size);
	shutdown(pair[0], SHUT_WR);
	connection = pair[1];
	if (requests_next(requests, &request) == REQUESTS_ONE) {
		check(requests, request, size);
		assert(read(pair[0], answer, sizeof(answer)) > 8 + 6);
	}
	close(pair[0]);
	return 0;
}
