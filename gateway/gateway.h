/*
 * The parts of one gateway process, wired by gateway.c and lent to each other. All of it belongs to
 * the event loop's thread; presence has a thread of its own behind its functions.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/events/audience.h"
#include "gateway/processes/child.h"
#include "gateway/client/deadlines.h"
#include "gateway/events/feed.h"
#include "gateway/events/frame.h"
#include "gateway/door/limits.h"
#include "gateway/client/outbox.h"
#include "gateway/client/pending.h"
#include "gateway/presence/presence.h"
#include "gateway/door/refusals.h"
#include "gateway/presence/tally.h"
#include "shared/config/config.h"
#include "shared/counters/counters.h"
#include "shared/base/log_repeat.h"
#include "shared/contract/token.h"

struct session;
struct uv_loop_s;

enum { GATEWAY_KEYS = 2 };

struct gateway {
	struct config *config; /* borrowed; changes in place, see gateway_reload */
	struct reload *reload;
	char **argv; /* borrowed */
	struct inheritance inheritance;
	struct uv_loop_s *loop;
	struct liveness *liveness;
	struct database *database; /* the loop's connection: the feed's */
	struct listener *listener;
	struct upgrades *upgrades;
	struct ws *ws;
	struct wakeup *wakeup;
	struct feed *feed;
	struct audience audience;
	struct deadlines *deadlines;
	struct presence *presence;
	struct trusted_proxies *trusted;
	struct token_key *keys[GATEWAY_KEYS]; /* of the secret and of the previous one */
	struct frame *auth_ok; /* the frame that everyone gets */

	struct session *sessions; /* all of them, a list */
	size_t session_count;
	struct limits limits; /* of connections */
	struct pending_list pending; /* connections that have not authenticated */
	struct tally *tally; /* of all connections, over all workers */
	struct refusals *refusals;
	struct replays *replays;
	struct outbox_pool pool; /* what waits in all outboxes */
	struct counters counters; /* since the start */
	struct log_repeat feed_trouble;
};

/* Sets everything up. NULL after logging why; *exit_code is what the program then ends with. Free
 * with gateway_close. */
struct gateway *gateway_open(struct config *config, char **argv,
			     const struct inheritance *inheritance, int *exit_code);

/* Takes the configuration file over as it is now, when it is good. */
void gateway_reload(struct gateway *gateway);

/* Serves until it is told to end, see serve.c; then closes the clients with 1001 and returns the
 * exit code. */
int gateway_run(struct gateway *gateway);

/* The signals that serve.c takes wait while there is nobody to take them in order: before
 * gateway_run, and behind it. */
void gateway_hold_signals(bool hold);

void gateway_close(struct gateway *gateway);

#endif
