/*
 * Opening the database while SQLite's calls fail, see fault_sweep.h: a new one and one that is
 * there. What fails says why and leaves nothing open; whoever tries again gets a database that is
 * whole and up to date.
 */
#include "tests/unit/fault_sweep.h"

#include <dirent.h>
#include <fcntl.h>

#include "shared/database/database_internal.h"
#include "shared/database/generation.h"
#include "shared/database/schema.h"

static char why[DATABASE_WHY_SIZE];
static char new_dir[sizeof(state_dir) + 8]; /* of the database that the test opens */
static struct config new_config;

/* The witness has a database of its own. */
static int open_witnessed(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database_close(open_database());
	open_witness();
	snprintf(new_dir, sizeof(new_dir), "%s/new", base);
	new_config = config;
	new_config.state_dir = new_dir;
	return 0;
}

static int close_witnessed(void **state)
{
	tell_attempt();
	close_witness();
	return remove_base(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, open_witnessed, close_witnessed)

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Of an attempt. */
static int descriptors_left;
static sqlite3_int64 memory_left; /* of SQLite's */

static bool run_open(void)
{
	int descriptors = count_descriptors();
	sqlite3_int64 memory = sqlite3_memory_used();
	struct database *database = database_open(&new_config, DATABASE_START_WAIT_MS, why);

	database_close(database);
	descriptors_left = count_descriptors() - descriptors;
	memory_left = sqlite3_memory_used() - memory;
	return database != NULL;
}

/* Valid until the next call. */
static const char *new_file(const char *name)
{
	static char path[sizeof(new_dir) + 32];

	snprintf(path, sizeof(path), "%s/%s", new_dir, name);
	return path;
}

/* Whoever tries again. */
static void check_open(bool done)
{
	if (!done)
		assert_true(why[0]);
	assert_int_equal(descriptors_left, 0);
	assert_int_equal(memory_left, 0);

	struct database *database = database_open(&new_config, DATABASE_START_WAIT_MS, why);
	if (!database)
		fail_msg("%s", why);
	sqlite3 *handle = database_handle(database);
	assert_string_equal(query(handle, "PRAGMA integrity_check"), "ok");
	assert_string_equal(query(handle, "PRAGMA journal_mode"), "wal");
	assert_int_equal(query_number(handle, "PRAGMA user_version"), schema_version);
	assert_string_equal(query(handle, "SELECT group_concat(topic) FROM topics"),
			    "worker.status");
	database_close(database);
}

/* So that nobody looks for what was there. */
static void forget_all(void)
{
	struct generation none = {0};
	int lock = open(new_file("write.lock"), O_RDWR);

	if (pread(lock, &none, sizeof(none), 0) == sizeof(none)) {
		none.newest_id = 0;
		memset(none.files, 0, LOCK_FILE * sizeof(none.files[0])); /* but its own */
		assert_int_equal(pwrite(lock, &none, sizeof(none), 0), sizeof(none));
	}
	close(lock);
	unlink(new_file("worker.db"));
	unlink(new_file("worker.db-wal"));
	unlink(new_file("worker.db-shm"));
	unlink(new_file("worker.db-journal"));
}

static void a_new_database_is_made_or_can_be_made_later(void **state)
{
	(void)state;
	sweep_ways(&(struct operation){"open a new one",
				       REACHES(CALL_OPEN) | REACHES(CALL_ACCESS) |
					       REACHES(CALL_FULL_PATH) | REACHES(CALL_READ) |
					       REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
					       REACHES(CALL_LOCK) | REACHES(CALL_SHM_MAP) |
					       REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC),
				       forget_all, run_open, check_open},
		   LASTS + 1);
}

/* As all programs leave it when they are killed: with a log, and an index of it that nobody has
 * open and that is made anew. */
static void leave_an_old_one(void)
{
	struct database *database;

	forget_all();
	database = database_open(&new_config, DATABASE_START_WAIT_MS, why);
	assert_non_null(database);
	execute(database_handle(database), "INSERT INTO events (kind, topic, created_ms) "
					   "VALUES (0, 'a', 0), (0, 'b', 0)");
	database_close(database);
}

static void check_old_one(bool done)
{
	sqlite3 *handle = NULL;

	check_open(done);
	assert_int_equal(sqlite3_open(new_file("worker.db"), &handle), SQLITE_OK);
	assert_string_equal(query(handle, "SELECT group_concat(topic) FROM events"), "a,b");
	assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static void what_is_committed_is_there_when_it_opens(void **state)
{
	(void)state;
	sweep_ways(&(struct operation){"open an old one",
				       REACHES(CALL_OPEN) | REACHES(CALL_ACCESS) |
					       REACHES(CALL_FULL_PATH) | REACHES(CALL_READ) |
					       REACHES(CALL_FILE_SIZE) | REACHES(CALL_LOCK) |
					       REACHES(CALL_SHM_MAP) | REACHES(CALL_SHM_LOCK) |
					       REACHES(CALL_MALLOC),
				       leave_an_old_one, run_open, check_old_one},
		   LASTS + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(a_new_database_is_made_or_can_be_made_later),
		FAULT_TEST(what_is_committed_is_there_when_it_opens),
	};

	opening_patience_ms = 0; /* nobody else has anything open */
	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
