/*
 * A run of clients of the internal API: so many requests, as fast as they are answered or at a
 * rate. Each client has one HTTP connection that is kept, and one request at a time. They publish
 * to groups, or to nobody, or ask for something.
 */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include "tests/bench/subscriber.h"

enum { MOST_PUBLISHERS = 64 };

struct run_options {
	struct sockaddr_in server;
	const char *path;
	const char *secret; /* for X-Worker-Secret */
	const char *before, *after; /* what stands around the payload in the body; # in `before`:
				       the name of the group */
	size_t payload_len; /* 0: a GET, without a body */
	int64_t count; /* of requests, of all together */
	int64_t rate; /* of them a second; 0: as fast as they are answered */
	bool until_delivered; /* a publisher goes on when its group has the push */
	bool tells_each; /* prints the time of each answer */
	bool is_awake; /* looks again and again instead of sleeping: nobody has to wake it */
	size_t publishers; /* of all groups together; 0: another load generator publishes */
	size_t group_count; /* each has as many publishers, LANES at most; 0: nobody reads here */
	struct group *groups[MOST_PUBLISHERS];
};

/* Runs it and prints what came of it on stdout, as one JSON object. */
void publishers_run(const struct run_options *options);

#endif
