/*
 * `durability: full`: what is said to be on the disk is there. SQLite's files are watched: each
 * sync of the log is counted, can wait, and can fail as Linux lets it fail, once for each
 * descriptor that was open, after which syncs succeed again although a page was lost.
 */
#include "tests/unit/database_fixture.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "shared/database/write_lock.h"

enum { SOON_MS = 10000 };

/* Shared with children. */
static struct {
	atomic_int syncs; /* of the log */
	atomic_int failures; /* of the disk; each process is told once of each */
	atomic_int to_wait; /* syncs that are to wait until this is 0 */
	atomic_int waiting; /* in them now */
	atomic_int ready, turn, committed; /* of children */
	atomic_int done; /* children that were told that all is well */
	atomic_int written; /* bytes, into the log */
	atomic_int lock_was_held; /* the write lock, during a sync */
} * disk;

static int told; /* failures that this process has seen */
static sqlite3_vfs watched_vfs, *real_vfs;
static const sqlite3_io_methods *real_methods;
static sqlite3_io_methods watched_methods;

static int watched_sync(sqlite3_file *file, int flags)
{
	int lock = write_lock_open(path_of("write.lock"));
	int failures = atomic_load(&disk->failures);

	(void)file;
	(void)flags;
	atomic_fetch_add(&disk->syncs, 1);
	if (!write_lock_try(lock))
		atomic_store(&disk->lock_was_held, 1);
	close(lock);
	atomic_fetch_add(&disk->waiting, 1);
	while (atomic_load(&disk->to_wait))
		usleep(500);
	atomic_fetch_sub(&disk->waiting, 1);
	if (told == failures)
		return SQLITE_OK;
	told = failures;
	return SQLITE_IOERR_FSYNC;
}

static int watched_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	atomic_fetch_add(&disk->written, len);
	return real_methods->xWrite(file, bytes, len, at);
}

static int watched_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			int *out_flags)
{
	int result = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);

	(void)vfs;
	if (result == SQLITE_OK && (flags & SQLITE_OPEN_WAL)) {
		real_methods = file->pMethods;
		watched_methods = *real_methods;
		watched_methods.xSync = watched_sync;
		watched_methods.xWrite = watched_write;
		file->pMethods = &watched_methods;
	}
	return result;
}

static bool watch_log(void)
{
	disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	real_vfs = sqlite3_vfs_find(NULL);
	watched_vfs = *real_vfs;
	watched_vfs.zName = "watched";
	watched_vfs.pNext = NULL;
	watched_vfs.xOpen = watched_open;
	return disk != MAP_FAILED && sqlite3_vfs_register(&watched_vfs, 1) == SQLITE_OK;
}

static int make_full(void **state)
{
	memset(disk, 0, sizeof(*disk));
	told = 0;
	if (make_base(state) != 0)
		return -1;
	config.durability = CONFIG_DURABILITY_FULL;
	return 0;
}

#define SYNC_TEST(test) cmocka_unit_test_setup_teardown(test, make_full, remove_base)

static void commit(struct database *database)
{
	MUST(database_write_begin(database, clock_monotonic_ms() + SOON_MS) == DATABASE_OK);
	MUST(sqlite3_exec(database_handle(database),
			  "INSERT INTO events (kind, topic, created_ms) VALUES (0, 't', 1)", NULL,
			  NULL, NULL) == SQLITE_OK);
	database_write_end(database);
}

static enum database_status sync_soon(struct database *database)
{
	return database_sync(database, clock_monotonic_ms() + SOON_MS);
}

/* A connection that has already synced, so that it is not in doubt about the log. */
static struct database *open_sure(void)
{
	struct database *database = open_database();

	commit(database);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	disk->syncs = 0;
	disk->written = 0;
	disk->lock_was_held = 0;
	return database;
}

static int log_size(void)
{
	struct stat info;

	assert_int_equal(stat(path_of("worker.db-wal"), &info), 0);
	return (int)info.st_size;
}

static void wait_for(atomic_int *number, int wanted)
{
	while (atomic_load(number) < wanted)
		usleep(500);
}

static void only_full_durability_waits_for_the_disk(void **state)
{
	(void)state;
	config.durability = CONFIG_DURABILITY_NORMAL;
	struct database *database = open_database();

	disk->syncs = 0;
	commit(database);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	assert_int_equal(disk->syncs, 0);
	assert_int_equal(access(path_of("sync.lock"), F_OK), -1);
	database_close(database);
}

static void a_sync_is_not_part_of_the_commit(void **state)
{
	(void)state;
	struct database *database = open_sure();

	commit(database);
	assert_int_equal(disk->syncs, 0);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	assert_int_equal(disk->syncs, 1);
	assert_false(disk->lock_was_held);
	database_close(database);
}

/* Child `number` of several, from 1 on: commits when it is its turn, and waits for the disk. */
static void commit_and_sync(void *number)
{
	char why[DATABASE_WHY_SIZE];
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

	MUST(database);
	commit(database);
	MUST(sync_soon(database) == DATABASE_OK);
	atomic_fetch_add(&disk->ready, 1);
	wait_for(&disk->turn, *(int *)number);
	commit(database);
	atomic_fetch_add(&disk->committed, 1);
	if (sync_soon(database) == DATABASE_OK)
		atomic_fetch_add(&disk->done, 1);
	database_close(database);
}

enum { CHILDREN = 4 };

/* The first of them syncs, and waits; the others have committed when it goes on. */
static void start_children(pid_t children[CHILDREN])
{
	for (int i = 1; i <= CHILDREN; i++) {
		children[i - 1] = start_child(commit_and_sync, &i);
		wait_for(&disk->ready, i);
	}
	disk->syncs = 0;
	disk->lock_was_held = 0;
	disk->to_wait = 1;
	for (int i = 1; i <= CHILDREN; i++) {
		disk->turn = i;
		wait_for(&disk->waiting, 1);
		wait_for(&disk->committed, i);
	}
	usleep(20000); /* from the commit to the wait */
}

static void those_that_commit_meanwhile_share_a_sync(void **state)
{
	(void)state;
	struct database *database = open_sure();
	pid_t children[CHILDREN];

	start_children(children);
	assert_int_equal(disk->syncs, 1);
	assert_int_equal(disk->done, 0);
	assert_false(disk->lock_was_held);
	disk->to_wait = 0;
	for (int i = 0; i < CHILDREN; i++)
		wait_for_child(children[i]);
	assert_int_equal(disk->done, CHILDREN);
	assert_int_equal(disk->syncs, 2); /* the first one's own, and one for all others */
	database_close(database);
}

static void nobody_who_shares_a_failed_sync_is_told_that_all_is_well(void **state)
{
	(void)state;
	struct database *database = open_sure();
	pid_t children[CHILDREN];

	start_children(children);
	disk->failures++;
	disk->to_wait = 0;
	for (int i = 0; i < CHILDREN; i++)
		wait_for_child(children[i]);
	/* The first one's sync was under way before. */
	assert_true(disk->done <= 1);
	database_close(database);
}

static void after_a_failure_the_log_is_written_again(void **state)
{
	(void)state;
	struct database *database = open_sure();

	commit(database);
	disk->failures++;
	assert_int_equal(sync_soon(database), DATABASE_ERROR);
	disk->written = 0;
	commit(database);
	int for_the_commit = disk->written;
	assert_int_equal(sync_soon(database), DATABASE_OK);
	assert_int_equal(disk->written, for_the_commit + log_size());

	disk->written = 0;
	commit(database);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	assert_true(disk->written <= for_the_commit);
	assert_string_equal(query(database_handle(database), "PRAGMA integrity_check"), "ok");
	database_close(database);
}

static void a_newcomer_trusts_no_page_that_it_has_not_seen_synced(void **state)
{
	(void)state;
	struct database *database = open_sure(), *newcomer = open_database();

	assert_int_equal(sync_soon(newcomer), DATABASE_OK);
	assert_int_equal(disk->written, log_size());
	assert_int_equal(disk->syncs, 1);
	database_close(newcomer);
	database_close(database);
}

static void a_log_in_doubt_is_written_again_before_it_is_copied(void **state)
{
	(void)state;
	struct database *database = open_sure();

	commit(database);
	disk->failures++;
	assert_int_equal(database_checkpoint(database, 0), DATABASE_ERROR);
	disk->written = 0;
	assert_int_equal(database_checkpoint(database, 0), DATABASE_OK);
	assert_int_equal(disk->written, log_size());
	database_close(database);
}

static void a_log_that_was_started_anew_is_in_the_database_file(void **state)
{
	(void)state;
	struct database *database = open_sure(), *other = open_sure();

	commit(database);
	assert_int_equal(database_checkpoint(other, 0), DATABASE_OK);
	commit(other);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	assert_int_equal(query_number(database_handle(database), "SELECT count(*) FROM events"), 5);
	database_close(other);
	database_close(database);
}

static void a_log_that_was_deleted_is_on_no_disk(void **state)
{
	(void)state;
	struct database *database = open_sure();

	commit(database);
	assert_int_equal(unlink(path_of("worker.db-wal")), 0);
	assert_int_equal(sync_soon(database), DATABASE_ERROR);
	database_close(database);
}

static void a_wait_for_another_ends_at_the_deadline_and_at_its_death(void **state)
{
	(void)state;
	struct database *database = open_sure();
	int64_t start_ms;

	pid_t child = start_child(commit_and_sync, &(int){1});
	wait_for(&disk->ready, 1);
	disk->to_wait = 1;
	disk->turn = 1;
	wait_for(&disk->waiting, 1);
	commit(database);
	start_ms = clock_monotonic_ms();
	assert_int_equal(database_sync(database, start_ms + 50), DATABASE_BUSY);
	assert_in_range(clock_monotonic_ms(), start_ms + 50, start_ms + 5000);

	kill_child(child);
	disk->to_wait = 0;
	commit(database);
	assert_int_equal(sync_soon(database), DATABASE_OK);
	database_close(database);
}

static void a_lock_file_that_cannot_be_had_is_named(void **state)
{
	(void)state;
	char why[DATABASE_WHY_SIZE];

	assert_int_equal(mkdir(state_dir, 0700), 0);
	assert_int_equal(symlink("elsewhere", path_of("sync.lock")), 0);
	assert_null(database_open(&config, DATABASE_START_WAIT_MS, why));
	assert_string_equal(why, "cannot open sync.lock in the state_dir: Too many levels of "
				 "symbolic links");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SYNC_TEST(only_full_durability_waits_for_the_disk),
		SYNC_TEST(a_sync_is_not_part_of_the_commit),
		SYNC_TEST(those_that_commit_meanwhile_share_a_sync),
		SYNC_TEST(nobody_who_shares_a_failed_sync_is_told_that_all_is_well),
		SYNC_TEST(after_a_failure_the_log_is_written_again),
		SYNC_TEST(a_newcomer_trusts_no_page_that_it_has_not_seen_synced),
		SYNC_TEST(a_log_in_doubt_is_written_again_before_it_is_copied),
		SYNC_TEST(a_log_that_was_started_anew_is_in_the_database_file),
		SYNC_TEST(a_log_that_was_deleted_is_on_no_disk),
		SYNC_TEST(a_wait_for_another_ends_at_the_deadline_and_at_its_death),
		SYNC_TEST(a_lock_file_that_cannot_be_had_is_named),
	};

	return watch_log() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
