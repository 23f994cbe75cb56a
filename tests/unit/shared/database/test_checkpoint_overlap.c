/*
 * Invariant 6 of the design: no checkpoint of ours overlaps a commit. Released SQLite versions can
 * damage a database when one does ("WAL-reset bug", sqlite.org/wal.html), so checkpoints are taken
 * at one place, with the write lock held, and nowhere else.
 */
#include "tests/unit/shared/database/checkpoint_fixture.h"

#include "shared/database/housekeeping.h"

/* Holds the write lock in the middle of a transaction, and commits when it is told to. */
struct writer {
	int said[2], told[2];
};

static void write_slowly(void *argument)
{
	struct writer *writer = argument;
	char why[DATABASE_WHY_SIZE], byte = '!';
	struct database *database = database_open(&config, why);

	MUST(database &&
	     database_write_begin(database, clock_monotonic_ms() + 20000) == DATABASE_OK);
	MUST(sqlite3_exec(database_handle(database),
			  "BEGIN IMMEDIATE;"
			  "INSERT INTO events (kind, topic, created_ms) VALUES (0, 'slow', 0)",
			  NULL, NULL, NULL) == SQLITE_OK);
	MUST(write(writer->said[1], &byte, 1) == 1);
	MUST(read(writer->told[0], &byte, 1) == 1);
	MUST(sqlite3_exec(database_handle(database), "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	database_write_end(database);
	database_close(database);
}

static void in_the_middle_of_a_transaction_nothing_is_copied(void **state)
{
	(void)state;
	struct database *database = open_database(), *second = open_database();
	struct housekeeping *housekeeping =
		housekeeping_new(database, housekeeping_limits_of(&config));
	struct writer writer;
	char byte = '!';
	bool more;

	make_long_log(database);
	assert_int_equal(pipe(writer.said) | pipe(writer.told), 0);
	pid_t child = start_child(write_slowly, &writer);
	assert_int_equal(read(writer.said[0], &byte, 1), 1);
	struct files before = files_now();
	int64_t now_ms = clock_wall_ms();

	assert_int_equal(database_checkpoint(database, 0), DATABASE_BUSY);
	assert_int_equal(database_checkpoint(database, clock_monotonic_ms() + 30), DATABASE_BUSY);
	assert_int_equal(housekeeping_step(housekeeping, now_ms, 0, &more), DATABASE_BUSY);
	assert_int_equal(housekeeping_step(housekeeping, now_ms, 30, &more), DATABASE_BUSY);
	database_close(second);
	assert_nothing_copied(before);
	assert_int_equal(watch->checkpoints, 0);

	assert_int_equal(write(writer.told[1], &byte, 1), 1);
	wait_for_child(child);
	assert_int_equal(housekeeping_step(housekeeping, now_ms, 1000, &more), DATABASE_OK);
	struct files after = files_now();
	assert_int_equal(after.copied, after.frames);
	assert_true(after.database_size > before.database_size);
	assert_int_equal(watch->checkpoints, 1);
	assert_int_equal(watch->overlaps, 0);
	housekeeping_free(housekeeping);
	database_close(database);
	for (int i = 0; i < 2; i++) {
		close(writer.said[i]);
		close(writer.told[i]);
	}
}

enum { ENOUGH = 20, AT_MOST_MS = 60000 };

/* Until the time is over and enough has happened: on a loaded machine a process may come late. */
static bool goes_on(int64_t until_ms)
{
	int64_t now_ms = clock_monotonic_ms();
	bool is_enough = watch->transactions > ENOUGH && watch->checkpoints > ENOUGH;

	return now_ms < until_ms || (!is_enough && now_ms < until_ms + AT_MOST_MS);
}

static void write_fast(void *until_ms)
{
	char why[DATABASE_WHY_SIZE];
	struct database *database = database_open(&config, why);

	MUST(database);
	for (int i = 0; goes_on(*(int64_t *)until_ms); i++) {
		MUST(database_write_begin(database, clock_monotonic_ms() + 20000) == DATABASE_OK);
		MUST(sqlite3_exec(database_handle(database),
				  i % 2 ? "DELETE FROM events WHERE id IN (SELECT id FROM events "
					  "ORDER BY id DESC LIMIT 3, 2)"
					: "BEGIN IMMEDIATE;"
					  "INSERT INTO events (kind, payload, created_ms) VALUES "
					  "(0, hex(randomblob(40)), 0), (0, 'x', 1);"
					  "COMMIT",
				  NULL, NULL, NULL) == SQLITE_OK);
		database_write_end(database);
	}
	database_close(database);
}

static void checkpoint_fast(void *until_ms)
{
	char why[DATABASE_WHY_SIZE];
	struct database *database = database_open(&config, why);
	enum database_status status;

	MUST(database);
	for (int i = 0; goes_on(*(int64_t *)until_ms); i++) {
		/* Waiting and not waiting, as the API and the gateway do. */
		status = database_checkpoint(database, i % 2 ? clock_monotonic_ms() + 20000 : 0);
		MUST(status == DATABASE_OK || (i % 2 == 0 && status == DATABASE_BUSY));
	}
	database_close(database);
}

static void no_checkpoint_overlaps_a_transaction(void **state)
{
	(void)state;
	enum { WRITERS = 3, CHECKPOINTERS = 2, FOR_MS = 1000 };
	struct database *database = open_database();
	pid_t children[WRITERS + CHECKPOINTERS];
	int64_t until_ms = clock_monotonic_ms() + FOR_MS;

	memset(watch, 0, sizeof(*watch));
	for (int i = 0; i < WRITERS + CHECKPOINTERS; i++)
		children[i] = start_child(i < WRITERS ? write_fast : checkpoint_fast, &until_ms);
	for (int i = 0; i < WRITERS + CHECKPOINTERS; i++)
		wait_for_child(children[i]);
	print_message("%d transactions, %d checkpoints, %d overlaps\n", watch->transactions,
		      watch->checkpoints, watch->overlaps);
	assert_true(watch->transactions > ENOUGH);
	assert_true(watch->checkpoints > ENOUGH);
	assert_int_equal(watch->overlaps, 0);
	assert_int_equal(watch->writing, 0);
	assert_int_equal(watch->checkpointing, 0);
	assert_string_equal(query(database_handle(database), "PRAGMA integrity_check"), "ok");
	database_close(database);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECKPOINT_TEST(in_the_middle_of_a_transaction_nothing_is_copied),
		CHECKPOINT_TEST(no_checkpoint_overlaps_a_transaction),
	};

	return share_and_watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
