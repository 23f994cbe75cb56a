/*
 * For tests of the API's SQL: a store on a real database in a directory of its own for each test,
 * whose files are watched. Include it once, in the test program, which calls watch_files() first.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include "api/store.h"
#include "shared/counters/gauges.h"

static struct database *database;
static sqlite3 *handle;
static struct liveness *liveness;
static struct gauge_reader *gauge_reader;
static struct store *store;
static enum database_status last; /* of the last command */

enum outcome { DONE, REFUSED, UNAVAILABLE };

static inline int open_store(void **state)
{
	memset(watch, 0, sizeof(*watch));
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	handle = database_handle(database);
	liveness = liveness_open(state_dir);
	gauge_reader = gauge_reader_new(database, liveness, NULL);
	store = store_open(&config, database);
	return 0;
}

static inline int close_store(void **state)
{
	store_close(store);
	store_close(NULL);
	gauge_reader_free(gauge_reader);
	liveness_close(liveness);
	database_close(database);
	return remove_base(state);
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

static inline enum outcome execute_command(struct command *command, const char *topic, int64_t *id)
{
	struct store_result result;

	command->has_topic = true;
	command->topic_len = strlen(topic);
	memcpy(command->topic, topic, command->topic_len);
	last = store_execute(store, command, &result);
	if (last == DATABASE_OK && result.done && id)
		*id = result.number;
	return last != DATABASE_OK ? UNAVAILABLE : result.done ? DONE : REFUSED;
}

static inline enum outcome enrol(const char *topic, bool require_token)
{
	struct command command = {.kind = COMMAND_REGISTER, .require_token = require_token};

	return execute_command(&command, topic, NULL);
}

static inline enum outcome publish_bytes(const char *topic, const char *payload, size_t len,
					 int64_t *id)
{
	struct command command = {.kind = COMMAND_PUBLISH, .payload = {JSON_STRING, payload, len}};

	return execute_command(&command, topic, id);
}

static inline enum outcome publish(const char *topic, const char *payload, int64_t *id)
{
	return publish_bytes(topic, payload, strlen(payload), id);
}

static inline enum outcome unregister(const char *topic)
{
	struct command command = {.kind = COMMAND_UNREGISTER};

	return execute_command(&command, topic, NULL);
}

#endif
