/*
 * Groups of subscribers. One that a command connects shakes hands, authenticates, and then checks
 * each push that comes: every subscriber must get every one that was published to the group, in the
 * order of its publisher, unchanged, and nothing else.
 */
#ifndef BENCH_SUBSCRIBER_H
#define BENCH_SUBSCRIBER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "tests/bench/loop.h"

/* Only what one publisher sent has an order: each publisher of a group has a lane, in which its
 * pushes are numbered. A sequence number begins with the lane. */
enum { LANES = 8, LANE_SHIFT = 24 };

struct group_options {
	const char *name;
	struct sockaddr_in server;
	const char *target; /* of the request, up to the topic: "/ws?topic=", "/stream?topic=" */
	const char *topic; /* letters, digits, dots and dashes */
	int64_t topics; /* more than 1: topic.0, topic.1 and so on, in turn */
	int64_t first; /* number of the first subscriber: it decides on topic, user and address */
	int64_t count; /* of subscribers */
	int64_t underway; /* of them at the same time */
	bool sends_auth; /* else the handshake is all */
	const char *secret; /* of the tokens in the auth frames; "": they have none */
};

struct group {
	SLIST_ENTRY(group) next;
	char *name;
	const struct group_options *options; /* while they connect */
	struct subscriber *subscribers;
	size_t count, open;
	bool streams; /* its connections are, not WebSockets */

	uint32_t published[LANES]; /* pushes of this run so far; set by publishers */
	size_t payload_len; /* of the next one */

	/* Counted since the run began. */
	int64_t sent; /* by all publishers */
	int64_t receipts;
	int64_t missed; /* a later one came instead */
	int64_t repeated; /* one that had come, or that was not published */
	int64_t corrupt; /* not the bytes that were published */
	int64_t closed; /* connections that the server ended */
	struct samples
		*deliveries; /* the run's: from the publish to each receipt; NULL: there is none */
};

/* Connects them all and waits for that: the program ends when one is refused, or when nothing moves
 * for a while. The addresses that they come from are in 127.0.0.0/8. */
struct group *group_connect(const struct group_options *options);

/* The program ends when there is none of that name. */
struct group *group_find(const char *name);

/* For a new run: all sequences begin again, and nothing is counted. */
void group_clear(struct group *group);

/* How many deliveries are to come: neither received nor missed for good. */
int64_t group_behind(const struct group *group);

/* Ends the connections by a reset, which leaves no port in TIME_WAIT, and frees the group. */
void group_drop(struct group *group);

#endif
