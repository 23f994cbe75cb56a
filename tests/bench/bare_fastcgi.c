/*
 * The floor that the API is measured against: a FastCGI program that reads the body and answers
 * 200, by libfcgi and in the way of its manual. It takes the place of wavelog-worker-api, so it
 * ignores its arguments. Like it, it is started by spawn-fcgi or mod_fcgid, and its answer is as
 * long.
 */
#include <fcgiapp.h>
#include <signal.h>
#include <unistd.h>

#define ANSWER                                                                                     \
	"Status: 200 OK\r\n"                                                                       \
	"Content-Type: application/json\r\n"                                                       \
	"Content-Length: 23\r\n"                                                                   \
	"X-Content-Type-Options: nosniff\r\n\r\n"                                                  \
	"{\"id\":1790000000000000}"

enum { BODY_MAX = 1 << 20 };

static void end(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_SUCCESS);
}

int main(void)
{
	static char body[BODY_MAX];
	FCGX_Request request;

	signal(SIGTERM, end);
	signal(SIGUSR1, end);
	signal(SIGPIPE, SIG_IGN);
	FCGX_Init();
	FCGX_InitRequest(&request, STDIN_FILENO, 0);
	while (FCGX_Accept_r(&request) == 0) {
		while (FCGX_GetStr(body, BODY_MAX, request.in) > 0)
			;
		FCGX_PutStr(ANSWER, sizeof(ANSWER) - 1, request.out);
		FCGX_Finish_r(&request);
	}
	return EXIT_SUCCESS;
}
