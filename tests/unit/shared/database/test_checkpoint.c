/*
 * Checkpoints are taken at one place and nowhere else: neither a commit nor opening or closing
 * takes one, and what one does to the log and to readers. That none overlaps a commit is shown in
 * test_checkpoint_overlap.c.
 */
#include "tests/unit/shared/database/checkpoint_fixture.h"

static void a_long_log_is_not_copied_by_a_commit(void **state)
{
	(void)state;
	struct database *database = open_database();
	struct files before = files_now();

	make_long_log(database);
	assert_nothing_copied(before);
	assert_true(files_now().frames > 1000);
	database_close(database);
}

static void every_connection_leaves_checkpoints_to_us(void **state)
{
	(void)state;
	struct database *first = open_database(), *second = open_database();
	struct database *both[] = {first, second};

	for (int i = 0; i < 2; i++) {
		sqlite3 *handle = database_handle(both[i]);
		int no_checkpoint_on_close = 0;

		assert_string_equal(query(handle, "PRAGMA journal_mode"), "wal");
		assert_int_equal(query_number(handle, "PRAGMA wal_autocheckpoint"), 0);
		assert_int_equal(query_number(handle, "PRAGMA mmap_size"), 0);
		sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, -1,
				  &no_checkpoint_on_close);
		assert_int_equal(no_checkpoint_on_close, 1);
	}
	database_close(second);
	database_close(first);
}

static void closing_copies_nothing(void **state)
{
	(void)state;
	struct database *first = open_database(), *second = open_database();

	make_long_log(first);
	struct files before = files_now();
	database_close(first);
	assert_nothing_copied(before);
	database_close(second); /* the last one */
	assert_nothing_copied(before);
	assert_int_equal(watch->checkpoints, 0);

	/* Nor does opening it again, though the log is read then. */
	first = open_database();
	assert_nothing_copied(before);
	assert_int_equal(query_number(database_handle(first), "SELECT count(*) FROM events"), 12);
	database_close(first);
}

static void after_a_checkpoint_the_log_starts_anew(void **state)
{
	(void)state;
	struct database *database = open_database();

	make_long_log(database);
	struct files before = files_now();
	assert_int_equal(database_checkpoint(database, 0), DATABASE_OK);
	assert_int_equal(database_wal_pages(database), 0);
	add_event(database, 100);
	struct files after = files_now();
	assert_int_not_equal(after.salt, before.salt);
	assert_true(after.frames < 10);
	assert_int_equal(database_wal_pages(database), after.frames);
	/* A long log is cut when it is started anew: see journal_size_limit. */
	assert_true(after.log_size <= 32 * 1024 * 1024);
	database_close(database);
}

static void a_reader_neither_stops_nor_is_stopped(void **state)
{
	(void)state;
	struct database *database = open_database();
	sqlite3 *reader = open_by_hand();

	add_event(database, 100);
	execute(reader, "BEGIN");
	assert_int_equal(query_number(reader, "SELECT count(*) FROM events"), 2);
	add_event(database, 100);
	int64_t start_ms = clock_monotonic_ms();
	assert_int_equal(database_checkpoint(database, start_ms + 20000), DATABASE_OK);
	assert_true(clock_monotonic_ms() - start_ms < 10000);
	struct files files = files_now();
	assert_true(files.copied < files.frames); /* the rest next time */
	assert_int_equal(query_number(reader, "SELECT count(*) FROM events"), 2);
	execute(reader, "COMMIT");
	assert_int_equal(database_checkpoint(database, 0), DATABASE_OK);
	files = files_now();
	assert_int_equal(files.copied, files.frames);
	sqlite3_close(reader);
	database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECKPOINT_TEST(a_long_log_is_not_copied_by_a_commit),
		CHECKPOINT_TEST(every_connection_leaves_checkpoints_to_us),
		CHECKPOINT_TEST(closing_copies_nothing),
		CHECKPOINT_TEST(after_a_checkpoint_the_log_starts_anew),
		CHECKPOINT_TEST(a_reader_neither_stops_nor_is_stopped),
	};

	return share_and_watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
