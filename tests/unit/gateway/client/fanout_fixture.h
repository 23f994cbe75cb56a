/*
 * Sessions behind a fan-out, which reads a database that `writer` writes to. Include it once, in
 * the test program, after database_fixture.h.
 */
#ifndef TESTS_UNIT_FANOUT_FIXTURE_H
#define TESTS_UNIT_FANOUT_FIXTURE_H

#include "gateway/events/fanout.h"
#include "tests/unit/gateway/client/session_fixture.h"

static struct database *database;
static sqlite3 *writer;

static inline int open_behind_fanout(void **state)
{
	char why[DATABASE_WHY_SIZE];

	if (make_base(state) != 0)
		return -1;
	database = open_database();
	writer = open_by_hand();
	clients = (struct clients){0};
	open_clients();
	clients.feed = feed_open(database, NULL, why);
	clients.fanout = fanout_new(clients.feed, clients.audience, NULL, &counters);
	return 0;
}

static inline int close_behind_fanout(void **state)
{
	fanout_free(clients.fanout);
	close_clients();
	feed_close(clients.feed);
	sqlite3_close(writer);
	database_close(database);
	return remove_base(state);
}

#endif
