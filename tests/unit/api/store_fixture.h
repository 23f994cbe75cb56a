/*
 * For tests of the API's SQL: a store on a real database in a directory of its own for each test,
 * whose files are watched. Include it once, in the test program, which calls watch_files() first.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include "api/store.h"

static struct database *database;
static sqlite3 *handle;
static struct liveness *liveness;
static struct store *store;

static inline int open_store(void **state)
{
	memset(watch, 0, sizeof(*watch));
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	handle = database_handle(database);
	liveness = liveness_open(state_dir);
	store = store_open(&config, database, liveness);
	return 0;
}

static inline int close_store(void **state)
{
	store_close(store);
	store_close(NULL);
	liveness_close(liveness);
	database_close(database);
	return remove_base(state);
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

static inline enum store_outcome enrol(const char *topic, bool require_token)
{
	return store_register(store, topic, strlen(topic), require_token);
}

static inline enum store_outcome publish(const char *topic, const char *payload, int64_t *id)
{
	return store_publish(store, topic, strlen(topic), payload, strlen(payload), id);
}

static inline enum store_outcome unregister(const char *topic)
{
	return store_unregister(store, topic, strlen(topic));
}

#endif
