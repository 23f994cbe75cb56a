/*
 * One request by CGI (RFC 3875): what the web server says is in the environment, the body on
 * descriptor 0, the answer goes to descriptor 1.
 */
#ifndef API_CGI_H
#define API_CGI_H

#include <stdbool.h>

#include "api/request.h"
#include "api/response.h"

/* Whether the program was started for that. If so, a program that ends before it has called
 * cgi_answer answers 503 as it ends; and its command line is not to be trusted, for web servers put
 * a URL's query there. */
bool cgi_is_asked(void);

/* The request, with its body. Blocks for LISTENER_PEER_TIMEOUT_S at most. It and what it points to
 * live as long as the program. */
const struct request *cgi_read(void);

/* Sends the answer, a CGI header and body, and closes descriptors 0 and 1: to the web server the
 * answer is complete. One that has gone away is not an error. */
void cgi_answer(const char *answer, size_t len);

/* Answers that the API cannot start, and that the log says why. More lines of the header may be
 * there already. */
void cgi_apologise(struct response *response);

#endif
