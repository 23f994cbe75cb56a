/*
 * Subscribers that were connected by one command, and what they have received so far. What is
 * published to a group of one topic is counted here, so that each push can be checked: every
 * subscriber must get every one of them, in order, unchanged, and nothing else.
 */
#ifndef BENCH_GROUP_H
#define BENCH_GROUP_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/samples.h"
#include "tests/bench/subscriber.h"

enum { GROUP_NAME_SIZE = 64, GROUP_TARGET_SIZE = 300 };

enum group_auth {
	GROUP_NO_AUTH, /* the handshake is all */
	GROUP_OPEN, /* an auth frame without a token */
	GROUP_TOKEN /* one with a token */
};

struct group_options {
	const char *name;
	struct sockaddr_in server;
	const char *target; /* of the request, up to the topic: "/ws?topic=" */
	const char *topic; /* letters, digits, dots and dashes */
	int64_t topics; /* more than 1: topic.0, topic.1 and so on, in turn */
	int64_t first; /* number of the first subscriber: it decides on topic, user and address */
	int64_t count; /* of subscribers */
	int64_t underway; /* of them at the same time */
	enum group_auth auth;
	const char *secret; /* of the tokens */
};

struct group {
	char name[GROUP_NAME_SIZE];
	struct group_options options; /* while they connect */
	struct subscriber *subscribers;
	size_t count, started, open;

	uint32_t published[LANES]; /* pushes so far; set by publishers */
	size_t payload_len; /* of the next one */
	int64_t last_ns; /* when the last push came */

	/* Counted since they were last cleared. */
	int64_t sent; /* by all publishers */
	int64_t receipts;
	int64_t missed; /* a later one came instead */
	int64_t repeated; /* one that had come, or that was not published */
	int64_t corrupt; /* not the bytes that were published */
	int64_t closed; /* connections that the server ended */
	struct samples deliveries; /* from the publish to each receipt */
};

/* Connects them all and waits for that: the program ends when one is refused, or when nothing moves
 * for a while. The addresses that they come from are in 127.0.0.0/8. */
struct group *group_connect(const struct group_options *options);

/* NULL when there is none of that name. */
struct group *group_find(const char *name);

/* Forgets the counts and the latencies, not what is connected. */
void group_clear(struct group *group);

/* How many subscribers have not received all that was published. */
int64_t group_behind(const struct group *group);

/* True when every subscriber has received, or missed for good, all that was sent. */
bool group_all_delivered(const struct group *group);

/* Ends the connections by a reset, which leaves no port in TIME_WAIT, and frees the group. */
void group_drop(struct group *group);

#endif
