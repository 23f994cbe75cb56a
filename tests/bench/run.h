/*
 * One run of publishers: so many requests, as fast as they are answered or at a rate.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "tests/bench/publisher.h"

enum { MOST_PUBLISHERS = 64 };

enum run_until {
	RUN_ANSWERED, /* a publisher goes on when its request is answered */
	RUN_DELIVERED /* and when all subscribers of its group have the push */
};

struct run_options {
	int64_t count; /* of requests, of all publishers together */
	int64_t rate; /* of them a second; 0: as fast as they can */
	enum run_until until;
	size_t publishers; /* of all groups together */
	bool is_awake; /* looks again and again instead of sleeping, so that nobody has to wake it
			*/
	size_t group_count; /* each has as many publishers; 0: they publish to nobody */
	struct group *groups[MOST_PUBLISHERS];
};

/* Runs it and prints what came of it on stdout, as one JSON object. */
void run(struct publish_plan *plan, const struct run_options *options);

#endif
