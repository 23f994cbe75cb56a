/*
 * The schema of sql/: made once whoever comes first and however it ends, refused when it is newer.
 * test_views.c has what people read.
 */
#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include "shared/database/schema.h"

static char why[DATABASE_WHY_SIZE];

static int make_watched_base(void **state)
{
	memset(watch, 0, sizeof(*watch));
	return make_base(state);
}

#define SCHEMA_TEST(test) cmocka_unit_test_setup_teardown(test, make_watched_base, remove_base)

/* Everything that a migration makes. */
#define OBJECTS                                                                                    \
	"SELECT group_concat(type || ' ' || name) FROM (SELECT * FROM sqlite_schema ORDER BY "     \
	"name)"

static void it_is_made_once(void **state)
{
	(void)state;
	char objects[512], first_id[512];
	int64_t before_us = clock_wall_ms() * 1000;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	assert_true(schema_version > 0);
	assert_int_equal(query_number(handle, "PRAGMA user_version"), schema_version);
	snprintf(objects, sizeof(objects), "%s", query(handle, OBJECTS));
	assert_non_null(strstr(objects, "table events"));
	assert_non_null(strstr(objects, "view topic_overview"));
	/* The first id comes from the clock, rounded to a millisecond. */
	snprintf(first_id, sizeof(first_id), "%s", query(handle, "SELECT min(id) FROM events"));
	assert_in_range(strtoll(first_id, NULL, 10), before_us - 1000,
			clock_wall_ms() * 1000 + 1000);
	assert_true(strtoll(first_id, NULL, 10) < INT64_C(1) << 53);
	database_close(database);

	database = open_database();
	handle = database_handle(database);
	assert_string_equal(query(handle, OBJECTS), objects);
	assert_string_equal(query(handle, "SELECT group_concat(id) FROM events"), first_id);
	assert_int_equal(query_number(handle, "SELECT kind FROM events"), EVENT_DATABASE_MADE);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 1);
	database_close(database);
}

static void a_database_made_anew_starts_above_its_predecessor(void **state)
{
	(void)state;
	struct database *database = open_database();

	execute(database_handle(database), "INSERT INTO events (kind, created_ms) VALUES (0, 1)");
	int64_t last = query_number(database_handle(database), "SELECT max(id) FROM events");
	database_close(database);
	int64_t now_ms = clock_wall_ms();
	while (clock_wall_ms() <= now_ms + 1) /* two would be made in one millisecond */
		;
	assert_int_equal(remove_base(NULL), 0);
	assert_int_equal(make_base(NULL), 0);
	database = open_database();
	assert_true(query_number(database_handle(database), "SELECT min(id) FROM events") > last);
	database_close(database);
}

static void open_and_use(void *unused)
{
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

	(void)unused;
	if (!database)
		fprintf(stderr, "%s\n", why);
	MUST(database);
	MUST(database_write_begin(database, clock_monotonic_ms() + 20000) == DATABASE_OK);
	MUST(sqlite3_exec(database_handle(database),
			  "INSERT INTO events (kind, topic, created_ms) VALUES (0, 'x', 0)", NULL,
			  NULL, NULL) == SQLITE_OK);
	database_write_end(database);
	database_close(database);
}

static void many_may_open_it_at_once(void **state)
{
	(void)state;
	enum { CHILDREN = 8, ROUNDS = 5 };

	for (int round = 0; round < ROUNDS; round++) {
		pid_t children[CHILDREN];

		snprintf(state_dir, sizeof(state_dir), "%s/state%d", base, round);
		for (int i = 0; i < CHILDREN; i++)
			children[i] = start_child(open_and_use, NULL);
		for (int i = 0; i < CHILDREN; i++)
			wait_for_child(children[i]);
		struct database *database = open_database();
		sqlite3 *handle = database_handle(database);
		assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), CHILDREN + 1);
		assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 1);
		assert_int_equal(query_number(handle, "PRAGMA user_version"), schema_version);
		database_close(database);
	}
}

static void one_of_a_newer_version_is_refused(void **state)
{
	(void)state;
	char expected[DATABASE_WHY_SIZE], sql[64];

	database_close(open_database());
	sqlite3 *person = open_by_hand();
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", schema_version + 1);
	execute(person, sql);
	snprintf(expected, sizeof(expected),
		 "the database has schema version %d, this program knows %d: it was made by a "
		 "newer version",
		 schema_version + 1, schema_version);
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why, expected);
	/* It was left alone. */
	assert_int_equal(query_number(person, "PRAGMA user_version"), schema_version + 1);
	assert_int_equal(query_number(person, "SELECT count(*) FROM topics"), 1);
	sqlite3_close(person);
}

static void one_of_somebody_else_is_refused(void **state)
{
	(void)state;
	assert_int_equal(mkdir(state_dir, 0700), 0);
	sqlite3 *person = open_by_hand();
	execute(person, "CREATE TABLE topics (something)");
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why,
			    "cannot bring the schema to version 1: table topics already exists");
	assert_string_equal(query(person, OBJECTS), "table topics");
	sqlite3_close(person);
}

/* Killed at each of its writes in turn, the last one cut short. */
static void a_killed_migration_leaves_a_database_to_go_on_with(void **state)
{
	(void)state;
	bool survived = false;
	int kills = 0;

	for (int writes = 1; !survived; writes++) {
		int status;

		snprintf(state_dir, sizeof(state_dir), "%s/state%d", base, writes);
		watch->writes_to_live = writes;
		pid_t child = start_child(open_and_use, NULL);
		assert_int_equal(waitpid(child, &status, 0), child);
		watch->writes_to_live = 0;
		survived = WIFEXITED(status);
		assert_true(survived || WTERMSIG(status) == SIGKILL);
		kills += !survived;

		struct database *database = open_database();
		sqlite3 *handle = database_handle(database);
		assert_string_equal(query(handle, "PRAGMA integrity_check"), "ok");
		assert_int_equal(query_number(handle, "PRAGMA user_version"), schema_version);
		assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 1);
		assert_int_equal(query_number(handle, "SELECT count(*) FROM events WHERE kind = 3"),
				 1);
		assert_int_equal(query_number(handle, "SELECT count(*) FROM topic_overview"), 1);
		database_close(database);
	}
	print_message("killed %d times\n", kills);
	assert_true(kills > 10);
}

static void topics_are_counted_as_they_come_and_go(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	execute(handle, "INSERT INTO topics VALUES ('a', 1, 0, 1), ('b', 1, 0, 1), ('c', 1, 0, 1)");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 4);
	execute(handle, "INSERT INTO topics VALUES ('a', 0, 0, 2) "
			"ON CONFLICT (topic) DO UPDATE SET expires_ms = 2");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 4);
	execute(handle, "INSERT OR IGNORE INTO topics VALUES ('a', 0, 0, 2)");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 4);
	execute(handle, "BEGIN; DELETE FROM topics WHERE topic < 'c'; ROLLBACK");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 4);
	execute(handle, "DELETE FROM topics WHERE topic < 'c'");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 2);
	execute(handle, "DELETE FROM topics");
	assert_int_equal(query_number(handle, "SELECT topics FROM topic_count"), 0);
	database_close(database);
}

static void topics_of_an_older_schema_are_counted(void **state)
{
	(void)state;
	assert_int_equal(mkdir(state_dir, 0700), 0);
	sqlite3 *person = open_by_hand();
	for (int version = 0; version < 3; version++) /* the one before they were counted */
		execute(person, schema_migrations[version]);
	execute(person, "INSERT INTO topics VALUES ('a', 1, 0, 1); PRAGMA user_version = 3");
	sqlite3_close(person);

	struct database *database = open_database();
	assert_int_equal(query_number(database_handle(database), "SELECT topics FROM topic_count"),
			 2);
	database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCHEMA_TEST(it_is_made_once),
		SCHEMA_TEST(a_database_made_anew_starts_above_its_predecessor),
		SCHEMA_TEST(many_may_open_it_at_once),
		SCHEMA_TEST(one_of_a_newer_version_is_refused),
		SCHEMA_TEST(one_of_somebody_else_is_refused),
		SCHEMA_TEST(a_killed_migration_leaves_a_database_to_go_on_with),
		SCHEMA_TEST(topics_are_counted_as_they_come_and_go),
		SCHEMA_TEST(topics_of_an_older_schema_are_counted),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
