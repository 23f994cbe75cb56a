/*
 * Requests from the web server: one at a time, read to the end before anybody looks at it. A
 * request is plain data, so that everything behind this file works without FastCGI; by CGI it is
 * the same, see cgi.h.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes. nginx passes 32 KiB of headers on by default, Apache 800 KiB at most. */
enum { REQUEST_BODY_MAX = 1024 * 1024, REQUEST_PARAMETERS_MAX = 65536 };

enum request_body {
	REQUEST_BODY_WHOLE,
	REQUEST_BODY_TOO_LARGE, /* over REQUEST_BODY_MAX; not kept */
	REQUEST_BODY_CUT_SHORT /* the caller or the web server stopped before the announced end */
};

/* Strings are "" when the web server did not send them. Valid until requests_done. */
struct request {
	const char *method;
	const char *script_name, *path_info, *uri;
	const char *query;
	const char *secret; /* X-Worker-Secret */
	const char *authorization;
	const char *origin; /* of the page that asks */
	const char *address, *forwarded_for; /* the client's, or that of the last proxy */
	bool is_announced; /* there is a CONTENT_LENGTH */
	unsigned long long announced; /* ULLONG_MAX when it does not fit, 0 without one */
	enum request_body body_state;
	const char *body; /* not NUL-terminated */
	size_t body_len;
};

/* Takes over what the web server says of a request: `variables` are "NAME=value", and borrowed. The
 * body is left alone. */
void request_describe(struct request *request, char **variables);

struct requests;

/* Free with requests_close. NULL, with errno, when there is no descriptor to be had. */
struct requests *requests_open(void);
void requests_close(struct requests *requests);

enum requests_state {
	REQUESTS_ONE, /* answer it, and call requests_done, before the next */
	REQUESTS_IDLE, /* nobody has come for LISTENER_IDLE_MS */
	REQUESTS_END /* it is time to end; errno as listener_accept */
};

/* Waits for a request; *request is it, when there is one. */
enum requests_state requests_next(struct requests *requests, const struct request **request);

/* Sends the answer, a CGI header and body, and tells the web server that it is complete. A web
 * server that has gone away is not an error. */
void requests_answer(struct requests *requests, const char *answer, size_t len);

/* Closes the connection; the request is gone. */
void requests_done(struct requests *requests);

#endif
