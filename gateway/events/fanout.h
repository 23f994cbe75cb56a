/*
 * What is new in the feed, cut into steps: a push, or an order to end, for a few subscribers at a
 * time. Whoever asks carries a step out before it asks for the next, and may stop between any two
 * of them to go on in a later turn of the loop: subscribers that leave meanwhile are left out,
 * those that join start after what is being handed out, and one that is met twice knows by the ids
 * what it has had.
 *
 * Pushes of one topic that wait together are one batch. The events of a topic come in the order of
 * their ids; different topics do not wait for each other. The cost is proportional to the
 * subscribers of the topics that have news, and to nothing else.
 */
#ifndef GATEWAY_FANOUT_H
#define GATEWAY_FANOUT_H

#include <stdbool.h>

#include "gateway/events/audience.h"
#include "gateway/events/batch.h"
#include "shared/counters/counters.h"
#include "shared/database/feed.h"

struct fanout;

/* All are borrowed. Free with fanout_free, which allows NULL. */
struct fanout *fanout_new(struct feed *feed, struct audience *audience, struct presence *presence,
			  struct counters *counters);
void fanout_free(struct fanout *fanout);

/* The most that is read at a time. */
struct fanout_limits {
	int rows;
	size_t bytes; /* of payloads; a longer one comes alone */
	size_t pushes; /* of one topic */
};

/* Begins a turn. Reads what is new; if something has yet to be handed out, returns false
 * instead. */
bool fanout_look(struct fanout *fanout, struct fanout_limits limits);

struct fanout_step {
	struct batch *batch; /* of pushes, or an order */
	struct subscriber *const *subscribers; /* members' by_user if the batch has no topic, or
						  else by_topic. Walk them from the last to the
						  first, so that the one at hand may leave */
	size_t count;
	size_t to_come; /* how many more of this batch's subscribers lie before subscribers[0] */
};

/* False when all that was read is handed out. */
bool fanout_next(struct fanout *fanout, struct fanout_step *step);

/* Events of another node of the cluster that will never come, or are gone: up to that number. */
struct fanout_gap {
	int64_t id; /* where in the feed that was noticed; 0: nothing was */
	uint64_t node;
	int64_t number;
};

/* The gap that the last fanout_look came upon; handed out once. */
struct fanout_gap fanout_gap(struct fanout *fanout);

/* True when fanout_look may find more. */
bool fanout_has_more(const struct fanout *fanout);

/* True when some of what was read last had waited for something before it. */
bool fanout_has_joined(const struct fanout *fanout);

#endif
