/*
 * The parts of one gateway process, wired by gateway.c and lent to each other. All of it belongs to
 * the event loop's thread; presence has a thread of its own behind its functions.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/deadlines.h"
#include "gateway/feed.h"
#include "gateway/frame.h"
#include "gateway/outbox.h"
#include "gateway/presence.h"
#include "gateway/subscriptions.h"
#include "gateway/successor.h"
#include "shared/config.h"

struct session;
struct uv_loop_s;

/* Since the start. */
struct gateway_counters {
	int64_t deliveries; /* pushes to a subscriber each */
	int64_t dropped_pushes; /* lost by full outboxes of plain connections */
	int64_t closed_slow; /* connections sent away because theirs was full */
	int64_t resumes_recovered, resumes_lost, resumes_from_now;
	int64_t replayed_events;
};

struct gateway {
	const struct config *config; /* borrowed */
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
	struct subscriptions *subscriptions;
	struct deadlines *deadlines;
	struct presence *presence;
	struct trusted_proxies *trusted;
	struct frame *auth_ok; /* the frame that everyone gets */

	struct session *sessions; /* all of them, a list */
	size_t session_count;
	struct replays *replays;
	struct outbox_pool pool; /* what waits in all outboxes */
	struct gateway_counters counters;
	bool feed_in_trouble; /* and that is logged */
};

/* Sets everything up. NULL after logging why; *exit_code is what the program then ends with. Free
 * with gateway_close. */
struct gateway *gateway_open(const struct config *config, char **argv, int *exit_code);

/* Serves until it is told to end, see serve.c; then closes the clients with 1001 and returns. */
void gateway_run(struct gateway *gateway);

/* The signals that serve.c takes wait while there is nobody to take them in order: before
 * gateway_run, and behind it. */
void gateway_hold_signals(bool hold);

void gateway_close(struct gateway *gateway);

#endif
