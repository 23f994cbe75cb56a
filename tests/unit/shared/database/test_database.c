/*
 * Opening a database, and the rules of writing to it. Where checkpoints are concerned see
 * test_checkpoint.c, for the directory test_state_dir.c, for the schema test_schema.c.
 */
#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include <fcntl.h>

static char why[DATABASE_WHY_SIZE];

static int make_watched_base(void **state)
{
	memset(watch, 0, sizeof(*watch));
	return make_base(state);
}

#define WATCHED_TEST(test) cmocka_unit_test_setup_teardown(test, make_watched_base, remove_base)

static int64_t busy_timeout(struct database *database)
{
	return query_number(database_handle(database), "PRAGMA busy_timeout");
}

/* Waiting for the disk comes after the commit: see test_log_sync.c. */
static void a_commit_itself_does_not_wait_for_the_disk(void **state)
{
	(void)state;
	struct database *normal = open_database();

	config.durability = CONFIG_DURABILITY_FULL;
	struct database *full = open_database();
	assert_int_equal(query_number(database_handle(normal), "PRAGMA synchronous"), 1);
	assert_int_equal(query_number(database_handle(full), "PRAGMA synchronous"), 1);
	database_close(full);
	database_close(normal);
	database_close(NULL);
}

static void write_text(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void what_is_no_database_is_refused(void **state)
{
	(void)state;
	static const char text[] = "This is not a database, though it is long enough to be "
				   "one: SQLite looks at the first hundred bytes of a file.";

	assert_int_equal(mkdir(state_dir, 0700), 0);
	write_text("worker.db", text);
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why, "cannot open the database: file is not a database");
	unlink(path_of("worker.db"));
	assert_int_equal(mkdir(path_of("worker.db"), 0700), 0);
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why, "cannot open worker.db in the state_dir: Is a directory");
	rmdir(path_of("worker.db"));
	unlink(path_of("write.lock"));
	assert_int_equal(mkdir(path_of("write.lock"), 0700), 0);
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why, "cannot open write.lock in the state_dir: Is a directory");
}

static void an_empty_file_becomes_a_database(void **state)
{
	(void)state;
	assert_int_equal(mkdir(state_dir, 0700), 0);
	write_text("worker.db", "");
	struct database *database = open_database();
	assert_int_equal(query_number(database_handle(database), "SELECT count(*) FROM topics"), 1);
	database_close(database);
}

static void a_database_in_another_mode_gets_its_log_back(void **state)
{
	(void)state;
	database_close(open_database());
	sqlite3 *person = open_by_hand();
	assert_string_equal(query(person, "PRAGMA journal_mode = DELETE"), "delete");
	sqlite3_close(person);
	struct database *database = open_database();
	assert_string_equal(query(database_handle(database), "PRAGMA journal_mode"), "wal");
	database_close(database);
}

static void without_a_log_it_is_refused(void **state)
{
	(void)state;
	watch->no_shared_memory = 1;
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_non_null(strstr(why, "the database has no write-ahead log"));
}

static void a_connection_waits_only_for_a_write(void **state)
{
	(void)state;
	struct database *database = open_database();

	assert_int_equal(busy_timeout(database), 0);
	assert_int_equal(database_write_begin(database, clock_monotonic_ms() + 5000), DATABASE_OK);
	assert_in_range(busy_timeout(database), 1, 5000);
	database_write_end(database);
	assert_int_equal(busy_timeout(database), 0);
	assert_int_equal(database_write_begin(database, 0), DATABASE_OK);
	assert_int_equal(busy_timeout(database), 0);
	database_write_end(database);
	/* A deadline that has passed: the lock if it is free, and no waiting for a person. */
	assert_int_equal(database_write_begin(database, 1), DATABASE_OK);
	assert_int_equal(busy_timeout(database), 0);
	database_write_end(database);
	database_close(database);
}

static void one_writes_at_a_time(void **state)
{
	(void)state;
	struct database *one = open_database(), *two = open_database();

	assert_int_equal(database_write_begin(one, clock_monotonic_ms() + 1000), DATABASE_OK);
	int64_t start_ms = clock_monotonic_ms();
	assert_int_equal(database_write_begin(two, 0), DATABASE_BUSY);
	assert_int_equal(database_write_begin(two, start_ms + 50), DATABASE_BUSY);
	assert_true(database_is_crowded(two));
	assert_false(database_is_crowded(two)); /* said once */
	assert_false(database_is_crowded(one)); /* which did not have to wait */
	assert_in_range(clock_monotonic_ms(), start_ms + 50, start_ms + 5000);
	/* Reads go on. */
	execute(database_handle(one), "BEGIN IMMEDIATE; DELETE FROM topics");
	assert_int_equal(query_number(database_handle(two), "SELECT count(*) FROM topics"), 1);
	database_write_end(one);
	assert_int_equal(database_write_begin(two, 0), DATABASE_OK);
	database_write_end(two);
	database_close(two);
	database_close(one);
}

static void what_is_not_committed_is_taken_back(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	assert_int_equal(database_write_begin(database, 0), DATABASE_OK);
	execute(handle, "BEGIN IMMEDIATE; DELETE FROM topics");
	database_write_end(database);
	assert_int_equal(sqlite3_get_autocommit(handle), 1);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 1);
	database_close(database);
}

static void a_person_in_a_transaction_is_waited_for_until_the_deadline(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3_stmt *delete;
	sqlite3 *person = open_by_hand();

	database_prepare(database, &delete, "DELETE FROM topics");
	execute(person, "BEGIN IMMEDIATE");
	int64_t start_ms = clock_monotonic_ms();
	assert_int_equal(database_write_begin(database, start_ms + 60), DATABASE_OK);
	assert_int_equal(database_status_of(sqlite3_step(delete)), DATABASE_BUSY);
	assert_in_range(clock_monotonic_ms(), start_ms + 40, start_ms + 5000);
	sqlite3_reset(delete);
	database_write_end(database);

	execute(person, "ROLLBACK");
	assert_int_equal(database_write_begin(database, 0), DATABASE_OK);
	assert_int_equal(database_status_of(sqlite3_step(delete)), DATABASE_OK);
	sqlite3_reset(delete);
	database_write_end(database);
	sqlite3_close(person);
	sqlite3_finalize(delete);
	database_close(database);
}

static void die_while_writing(void *argument)
{
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

	(void)argument;
	MUST(database && database_write_begin(database, 0) == DATABASE_OK);
	MUST(sqlite3_exec(database_handle(database), "BEGIN IMMEDIATE; DELETE FROM topics", NULL,
			  NULL, NULL) == SQLITE_OK);
	_exit(0);
}

static void a_writer_that_dies_leaves_nothing_behind(void **state)
{
	(void)state;
	struct database *database = open_database();

	in_child(die_while_writing, NULL);
	assert_int_equal(database_write_begin(database, 0), DATABASE_OK);
	execute(database_handle(database), "INSERT INTO topics VALUES ('a', 0, 0, 0)");
	database_write_end(database);
	assert_int_equal(query_number(database_handle(database), "SELECT count(*) FROM topics"), 2);
	database_close(database);
}

/* 1 KB for a new one, for the sake of the disk; one that is there keeps its own. */
static void the_pages_are_those_that_the_file_was_made_with(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	assert_int_equal(query_number(handle, "PRAGMA page_size"), 1024);
	assert_int_equal(query_number(handle, "PRAGMA max_page_count"),
			 config.database_max_bytes / 1024);
	assert_int_equal(database_checkpoint(database, 0), DATABASE_OK);
	database_close(database);
	handle = open_by_hand();
	execute(handle, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM");
	sqlite3_close(handle);

	database = open_database();
	handle = database_handle(database);
	assert_int_equal(query_number(handle, "PRAGMA page_size"), 8192);
	assert_int_equal(query_number(handle, "PRAGMA max_page_count"),
			 config.database_max_bytes / 8192);
	execute(handle, "INSERT INTO topics VALUES ('a', 0, 0, 0)");
	assert_true(database_wal_bytes(database) > 0);
	assert_int_equal(database_wal_bytes(database) % 8192, 0);
	database_close(database);
}

static void the_log_is_measured_by_its_last_commit(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *handle = database_handle(database);

	int64_t before = database_wal_bytes(database);
	execute(handle, "INSERT INTO events (kind, payload, created_ms) "
			"VALUES (0, hex(zeroblob(20000)), 0)");
	int64_t after = database_wal_bytes(database);
	assert_in_range(after, before + 40000, before + 60000);
	execute(handle, "INSERT INTO events (kind, created_ms) VALUES (0, 0)");
	assert_in_range(database_wal_bytes(database), after + 1024, after + 5 * 1024);
	database_close(database);
}

static void a_result_has_a_meaning(void **state)
{
	(void)state;
	static const struct {
		int result;
		enum database_status status;
	} cases[] = {
		{SQLITE_OK, DATABASE_OK},
		{SQLITE_ROW, DATABASE_OK},
		{SQLITE_DONE, DATABASE_OK},
		{SQLITE_BUSY, DATABASE_BUSY},
		{SQLITE_BUSY_SNAPSHOT, DATABASE_BUSY},
		{SQLITE_BUSY_RECOVERY, DATABASE_BUSY},
		{SQLITE_LOCKED, DATABASE_BUSY},
		{SQLITE_FULL, DATABASE_FULL},
		{SQLITE_IOERR_SHMSIZE, DATABASE_FULL},
		{SQLITE_IOERR, DATABASE_ERROR},
		{SQLITE_IOERR_WRITE, DATABASE_ERROR},
		{SQLITE_CORRUPT, DATABASE_ERROR},
		{SQLITE_READONLY_DBMOVED, DATABASE_ERROR},
		{SQLITE_CONSTRAINT_UNIQUE, DATABASE_ERROR},
		{SQLITE_ERROR, DATABASE_ERROR},
		{SQLITE_NOTADB, DATABASE_ERROR},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(database_status_of(cases[i].result), cases[i].status);
	assert_string_equal(database_status_text(DATABASE_OK), "ok");
	assert_string_equal(database_status_text(DATABASE_BUSY), "database is locked");
	assert_non_null(strstr(database_status_text(DATABASE_FULL), "disk is full"));
	assert_string_equal(database_status_text(DATABASE_ERROR), "database error");
}

static void a_statement_that_cannot_be_prepared_is_told_of(void **state)
{
	(void)state;
	sqlite3_stmt *statement;
	struct database *database = open_database();

	assert_true(database_is_prepared(database, why));
	database_prepare(database, &statement, "SELECT a FROM nowhere");
	assert_null(statement);
	database_prepare(database, &statement, "SELECT 1");
	sqlite3_finalize(statement);
	assert_false(database_is_prepared(database, why));
	assert_non_null(strstr(why, "no such table: nowhere"));
	database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WATCHED_TEST(a_commit_itself_does_not_wait_for_the_disk),
		WATCHED_TEST(what_is_no_database_is_refused),
		WATCHED_TEST(an_empty_file_becomes_a_database),
		WATCHED_TEST(a_database_in_another_mode_gets_its_log_back),
		WATCHED_TEST(without_a_log_it_is_refused),
		WATCHED_TEST(a_connection_waits_only_for_a_write),
		WATCHED_TEST(one_writes_at_a_time),
		WATCHED_TEST(what_is_not_committed_is_taken_back),
		WATCHED_TEST(a_person_in_a_transaction_is_waited_for_until_the_deadline),
		WATCHED_TEST(a_writer_that_dies_leaves_nothing_behind),
		WATCHED_TEST(the_pages_are_those_that_the_file_was_made_with),
		WATCHED_TEST(the_log_is_measured_by_its_last_commit),
		WATCHED_TEST(a_result_has_a_meaning),
		WATCHED_TEST(a_statement_that_cannot_be_prepared_is_told_of),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
