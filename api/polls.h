/*
 * Polls: what a browser that cannot have a connection gets, straight from the database. A poll
 * names the last event that the browser has seen, and is told what came after; from one to the next
 * only how often each address has asked is kept.
 */
#ifndef API_POLLS_H
#define API_POLLS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/config/config.h"
#include "shared/contract/auth.h"
#include "shared/database/database.h"

/* The most pushes that an answer brings, and the most bytes of them, unless a single one is longer;
 * and how many events are looked at to find them. */
enum { POLL_PUSHES_MAX = 100, POLL_BYTES_MAX = 1024 * 1024, POLL_ROWS_MAX = 10000 };

/* A poll that is this many ids behind is told where to go on from, even if there is nothing for it.
 */
enum { POLL_BEHIND_MAX = 1000 };

struct polls;

/* Both are borrowed. NULL with the reason in `why`. Free with polls_close before the database is
 * closed. */
struct polls *polls_open(const struct config *config, struct database *database,
			 char why[DATABASE_WHY_SIZE]);
void polls_close(struct polls *polls);

/* Takes over changed secrets. */
void polls_configure(struct polls *polls);

/* One more poll from there: REMOTE_ADDR and X-Forwarded-For. False when that is more than
 * `poll_rate` allows to one address. Processes do not know what the others have allowed. */
bool polls_allow(struct polls *polls, const char *address, const char *forwarded_for);

struct poll {
	bool is_registered; /* the topic; otherwise nothing below counts */
	enum auth_verdict verdict; /* AUTH_GOOD: the rest counts too */
	bool is_quiet; /* nothing is new */
	char *text; /* the answer, JSON; the caller frees it */
	size_t len;
};

/* What there is on that topic for a client that sends that message. Call it between
 * store_read_begin and store_read_end, so that all of it is of the same moment. */
enum database_status polls_ask(struct polls *polls, const char *topic, size_t topic_len,
			       const struct message *message, struct poll *poll);

#endif
