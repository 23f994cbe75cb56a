/*
 * What is new in the database: events with an id above the last one seen, in their order, which is
 * the order of their commits, and what there was before, for replays. Reads only; in WAL mode a
 * read never waits for a writer.
 */
#ifndef SHARED_FEED_H
#define SHARED_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/contract/position.h"
#include "shared/database/database.h"
#include "shared/database/schema.h"

struct feed;
struct nodes;

/* One row of `events`; the bytes are valid during the call that hands it out. */
struct feed_event {
	int64_t id;
	enum event_kind kind;
	const char *topic;
	size_t topic_len;
	bool has_user; /* of EVENT_DISCONNECT: that user's sockets only */
	int64_t user_id;
	const char *payload; /* read only when asked for: feed_payload */
	size_t payload_len;
	int64_t created_ms; /* wall clock, of the publish; read with the payload */
	struct feed *feed;

	/* In a cluster, else NULL and 0. */
	const struct position *position; /* of a client that has had it */
	uint64_t node; /* whose event it is */
	int64_t number; /* and which of that node's; 0: it has none that others know */
};

/* False: not this one now, and none after it; it will come again. */
typedef bool feed_handler(void *context, struct feed_event *event);

/* Starts at the newest event there is. `database` and `nodes` are borrowed; the latter is NULL for
 * a single node. NULL with the reason in `why`. Free with feed_close before the database is closed.
 */
struct feed *feed_open(struct database *database, struct nodes *nodes, char why[DATABASE_WHY_SIZE]);
void feed_close(struct feed *feed);

/* Hands out what is new, at most `limit` events. *more: there may be more. After a failure the
 * events that were not taken come again. */
enum database_status feed_poll(struct feed *feed, int limit, feed_handler *handler, void *context,
			       bool *more);

/* Reads the payload of the current event: rows for which nobody here is waiting are never read in
 * full. False when it cannot be read: do nothing then, the event will come again. */
bool feed_payload(struct feed_event *event);

/* The id of the last event taken; and in a cluster the position of a client that has had all of
 * them, otherwise NULL. */
int64_t feed_position(const struct feed *feed);
const struct position *feed_here(const struct feed *feed);

/* What a client is given as the id of an event that has been handed out, as JSON. Returns its
 * length. */
size_t feed_event_id(const struct feed_event *event, char out[POSITION_TEXT_SIZE]);

/* What SQLite says about the last failure. */
const char *feed_error(const struct feed *feed);

/* The position after which events were gone before they could be read; 0 when none were since the
 * last call. *is_another: they went with the whole database, and another one is in its place. */
int64_t feed_gap(struct feed *feed, bool *is_another);

/* The newest push of that topic that is gone, as far as is known; of '' the newest order.
 * INT64_MAX when it cannot be read. */
int64_t feed_pruned_id(struct feed *feed, const char *topic, size_t len);

/* Rows that are read at a time. */
struct feed_batch {
	const char *topic; /* borrowed; only its pushes are handed out. NULL: everything is */
	size_t topic_len;
	int64_t position; /* moves with what has been read */
	int64_t until; /* the last id of all */
	int max_rows; /* to look at */
	/* For a replay in a cluster: how far the client has come. It does not get again what it has
	 * had; this moves with what it gets. NULL: it gets everything. */
	struct client_position *client;
	bool has_more; /* there may be more after `position` */
	bool has_gap; /* pushes after `position` have been pruned: nothing was handed out */
	int64_t gap_after; /* of all topics: the position before rows that are not there; 0: none */
};

/* Hands out the pushes of one topic among the events that come after the position. */
enum database_status feed_replay(struct feed *feed, struct feed_batch *batch, feed_handler *handler,
				 void *context);

#endif
