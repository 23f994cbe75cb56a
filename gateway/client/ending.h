/*
 * Why connections end: what each cause means to the client of a WebSocket, to that of a stream, and
 * to the counters. Constant.
 */
#ifndef GATEWAY_ENDING_H
#define GATEWAY_ENDING_H

#include "shared/counters/counters.h"

/* RFC 6455, section 7.4.1 and the IANA registry. */
enum close_code {
	CLOSE_NORMAL = 1000,
	CLOSE_GOING_AWAY = 1001,
	CLOSE_PROTOCOL_ERROR = 1002,
	CLOSE_NOT_UTF8 = 1007,
	CLOSE_POLICY = 1008,
	CLOSE_TOO_BIG = 1009,
	CLOSE_TRY_AGAIN = 1013
};

/* A new cause needs a row in ending.c, and counters in counters.h. */
enum ending {
	ENDING_NONE,

	/* With a Close frame; a stream just ends. */
	ENDING_AUTH_REQUIRED,
	ENDING_UNAUTHORIZED,
	ENDING_AUTH_EXPIRED,
	ENDING_AUTH_TIMEOUT,
	ENDING_UNREGISTERED,
	ENDING_DISCONNECTED, /* by the backend */
	ENDING_TOO_BIG, /* a message */
	ENDING_NOT_UTF8, /* a text message */
	ENDING_TOO_MANY_MESSAGES, /* see message_rate_take */
	ENDING_PENDING_FULL, /* others need its place before it has authenticated */
	ENDING_SLOW, /* it is to resume */
	ENDING_PRUNED, /* what it was to get is gone */
	ENDING_UNAVAILABLE, /* the database cannot be read */
	ENDING_SHUTDOWN,

	/* Without a word. */
	ENDING_GONE, /* by the client, or broken */
	ENDING_SILENT,

	ENDINGS
};

struct ending_row {
	enum close_code code;
	const char *reason; /* what the Close frame says besides its code */
	const char *last_words; /* the frame before it (docs/clients.md); NULL: none */

	/* The answer to the request for a stream that will not begin. 0: it has begun by then, or
	 * ends without a word. */
	int status;
	const char *text;

	enum counter unauthenticated, authenticated;
};

extern const struct ending_row ending_rows[ENDINGS];

#endif
