/*
 * A client of the internal API: one HTTP connection that is kept, one request at a time. It
 * publishes to a group, or asks for something when it has none.
 */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/group.h"
#include "tests/bench/loop.h"
#include "tests/bench/samples.h"

enum { STATUSES = 600 };

/* What all publishers of a run share. */
struct publish_plan {
	struct sockaddr_in server;
	const char *method, *path;
	const char *secret; /* for X-Worker-Secret; NULL: no such header */
	const char *before, *after; /* what stands around the payload in the body */
	size_t payload_len; /* 0: no body */

	struct samples answers; /* from sending to the whole answer */
	int64_t answered_ns; /* when the last one came */
	int64_t statuses[STATUSES]; /* how often each came */
	size_t body_len; /* of the last answer */
};

struct publisher {
	struct watched watched;
	struct publish_plan *plan;
	struct group *group; /* or NULL */
	uint32_t lane; /* in the group */
	int64_t sent; /* requests */
	bool is_busy; /* an answer is to come */
	bool is_awaited; /* so are deliveries */
	int64_t sent_ns, due_ns;
	char *request; /* its payload is written anew each time */
	size_t request_len, payload_at;
	char *reply;
	size_t reply_len, reply_room;
};

/* Connects; the program ends when it cannot. `group` may be NULL. */
void publisher_open(struct publisher *publisher, struct publish_plan *plan, struct group *group,
		    uint32_t lane);
void publisher_close(struct publisher *publisher);

/* Sends the next request; its payload says `at_ns`. */
void publisher_send(struct publisher *publisher, int64_t at_ns);

void publisher_on_event(struct publisher *publisher);

#endif
