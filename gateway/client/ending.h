/*
 * Why a connection ends: the close code and the last words of each cause (PROTOCOL.md, section 2),
 * and how it is counted. A const table; a new cause is an enumerator here, its row in ending.c and
 * its counters in shared/counters/counters.h.
 */
#ifndef GATEWAY_ENDING_H
#define GATEWAY_ENDING_H

#include "gateway/client/session.h"
#include "shared/counters/counters.h"

enum ending {
	/* With a Close frame. */
	ENDING_AUTH_REQUIRED,
	ENDING_UNAUTHORIZED,
	ENDING_AUTH_EXPIRED,
	ENDING_AUTH_TIMEOUT,
	ENDING_UNREGISTERED,
	ENDING_DISCONNECTED, /* by the backend */
	ENDING_TOO_BIG, /* a message */
	ENDING_NOT_UTF8, /* a text message */
	ENDING_TOO_MANY_MESSAGES, /* see message_rate */
	ENDING_PENDING_FULL, /* others need its place before it has authenticated */
	ENDING_SLOW, /* it is to resume */
	ENDING_UNAVAILABLE, /* the database cannot be read */
	ENDING_SHUTDOWN,

	/* Without a word. */
	ENDING_GONE, /* by the client, or broken */
	ENDING_SILENT,

	ENDINGS
};

struct ending_row {
	enum close_code code;
	const char *last_words; /* NULL: none */
	enum counter unauthenticated, authenticated; /* which one counts it */
};

extern const struct ending_row endings[ENDINGS];

/* What the Close frame says beside its code, "" when that says all. */
const char *ending_reason(enum ending ending);

#endif
