/*
 * Checkpoints are taken at one place and nowhere else: neither a commit nor opening or closing
 * takes one; what one does to the log and to readers; and invariant 6 of the design: none of ours
 * overlaps a commit. Released SQLite versions can damage a database when one does ("WAL-reset bug",
 * sqlite.org/wal.html), so the write lock is held.
 *
 * What was copied back is seen in the files themselves: the bytes of worker.db, and in the log's
 * index the count of frames that are in worker.db already.
 */
#include <fcntl.h>

#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"
#include "shared/database/housekeeping.h"

/* The log's index, see walformat.html of SQLite: two copies of a header, then the checkpoint's
 * state. */
struct index_header {
	uint32_t version, unused, change;
	uint8_t is_init, big_endian_sums;
	uint16_t page_size;
	uint32_t frames, pages, frame_sum[2], salt[2], sum[2];
};

struct files {
	uint64_t database_sum; /* of all bytes of worker.db */
	int64_t database_size, log_size;
	uint32_t frames; /* in the log */
	uint32_t copied; /* of them, into worker.db */
	uint32_t salt; /* another one: the log was started anew */
};

static struct files *shared_files;

/* Once in the program, before the tests. */
static bool share_and_watch_files(void)
{
	shared_files = mmap(NULL, sizeof(*shared_files), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared_files != MAP_FAILED && watch_files();
}

static int make_watched_base(void **state)
{
	memset(watch, 0, sizeof(*watch));
	return make_base(state);
}

#define CHECKPOINT_TEST(test) cmocka_unit_test_setup_teardown(test, make_watched_base, remove_base)

/* In a child: a process that closes a file loses all its POSIX locks on it, SQLite's too. */
static void look_at_files(void *unused)
{
	struct index_header index[2];
	struct stat info;
	unsigned char bytes[4096];
	uint64_t sum = UINT64_C(14695981039346656037); /* FNV-1a */
	ssize_t len;
	int fd = open(path_of("worker.db-shm"), O_RDONLY);

	(void)unused;
	MUST(fd >= 0 && read(fd, index, sizeof(index)) == sizeof(index));
	MUST(read(fd, &shared_files->copied, 4) == 4);
	shared_files->frames = index[0].frames;
	shared_files->salt = index[0].salt[0];
	MUST(stat(path_of("worker.db-wal"), &info) == 0);
	shared_files->log_size = info.st_size;
	fd = open(path_of("worker.db"), O_RDONLY);
	MUST(fd >= 0 && fstat(fd, &info) == 0);
	shared_files->database_size = info.st_size;
	while ((len = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < len; i++)
			sum = (sum ^ bytes[i]) * UINT64_C(1099511628211);
	shared_files->database_sum = sum;
}

static struct files files_now(void)
{
	in_child(look_at_files, NULL);
	return *shared_files;
}

static void assert_nothing_copied(struct files before)
{
	struct files now = files_now();

	assert_int_equal(now.copied, before.copied);
	assert_int_equal(now.salt, before.salt);
	assert_int_equal(now.database_size, before.database_size);
	assert_true(now.database_sum == before.database_sum);
	assert_true(now.log_size >= before.log_size);
}

static void add_event(struct database *database, int bytes)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (kind, topic, payload, created_ms) "
		 "VALUES (0, 't', hex(zeroblob(%d)), %lld)",
		 bytes / 2, (long long)clock_wall_ms());
	assert_int_equal(database_write_begin(database, clock_monotonic_ms() + 20000), DATABASE_OK);
	execute(database_handle(database), sql);
	database_write_end(database);
}

/* More than SQLite and we let a log grow to: a checkpoint is due. */
static void make_long_log(struct database *database)
{
	for (int i = 0; i < 11; i++)
		add_event(database, 512 * 1024);
	assert_true(database_wal_bytes(database) > 4 * 1024 * 1024);
}

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
	assert_int_equal(database_wal_bytes(database), 0);
	add_event(database, 100);
	struct files after = files_now();
	assert_int_not_equal(after.salt, before.salt);
	assert_true(after.frames < 10);
	assert_int_equal(database_wal_bytes(database), after.frames * 1024);
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

/* Holds the write lock in the middle of a transaction, and commits when it is told to. */
struct writer {
	int said[2], told[2];
};

static void write_slowly(void *argument)
{
	struct writer *writer = argument;
	char why[DATABASE_WHY_SIZE], byte = '!';
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

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
	struct housekeeping *housekeeping = housekeeping_new(database);
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
	assert_int_equal(
		housekeeping_step(housekeeping, housekeeping_limits_of(&config), now_ms, 0, &more),
		DATABASE_BUSY);
	assert_int_equal(
		housekeeping_step(housekeeping, housekeeping_limits_of(&config), now_ms, 30, &more),
		DATABASE_BUSY);
	database_close(second);
	assert_nothing_copied(before);
	assert_int_equal(watch->checkpoints, 0);

	assert_int_equal(write(writer.told[1], &byte, 1), 1);
	wait_for_child(child);
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config), now_ms,
					   1000, &more),
			 DATABASE_OK);
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
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

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
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);
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
		CHECKPOINT_TEST(a_long_log_is_not_copied_by_a_commit),
		CHECKPOINT_TEST(every_connection_leaves_checkpoints_to_us),
		CHECKPOINT_TEST(closing_copies_nothing),
		CHECKPOINT_TEST(after_a_checkpoint_the_log_starts_anew),
		CHECKPOINT_TEST(a_reader_neither_stops_nor_is_stopped),
		CHECKPOINT_TEST(in_the_middle_of_a_transaction_nothing_is_copied),
		CHECKPOINT_TEST(no_checkpoint_overlaps_a_transaction),
	};

	return share_and_watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
