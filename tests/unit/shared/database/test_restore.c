/*
 * Files of the database that go away again and again, while some who have it open have not come to
 * look after it: whoever does puts back what was open last, by anybody.
 */
#include "tests/unit/database_fixture.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "shared/database/generation.h"

enum { OTHER, BEHIND, CONNECTIONS };

static struct database *connections[CONNECTIONS];

static int open_them(void **state)
{
	if (make_base(state) != 0)
		return -1;
	for (size_t i = 0; i < CONNECTIONS; i++)
		connections[i] = open_database();
	return 0;
}

static int close_them(void **state)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		database_close(connections[i]);
	return remove_base(state);
}

static enum database_status add(struct database *database)
{
	enum database_status status = database_write_begin(database, 0);

	if (status == DATABASE_OK) {
		execute(database_handle(database),
			"INSERT INTO events (kind, topic, created_ms) VALUES (0, 't', 0)");
		database_write_end(database);
	}
	return status;
}

static int64_t count(struct database *database)
{
	return query_number(database_handle(database),
			    "SELECT count(*) FROM events WHERE kind = 0");
}

static int64_t newest(struct database *database)
{
	return query_number(database_handle(database), "SELECT max(id) FROM events");
}

static void remove_files(const char *const names[])
{
	char path[160];

	for (size_t i = 0; names[i]; i++) {
		snprintf(path, sizeof(path), "%s/%s", state_dir, names[i]);
		unlink(path);
	}
}

static void what_goes_twice_is_put_back_as_it_was_last(void **state)
{
	static const char *const cases[][5] = {
		{"worker.db"},
		{"worker.db-wal"},
		{"worker.db-shm"},
		{"worker.db", "worker.db-wal"},
		{"worker.db", "worker.db-wal", "worker.db-shm"},
		{"worker.db", "write.lock"},
		{"worker.db", "worker.db-wal", "worker.db-shm", "write.lock"},
		{"write.lock"},
	};
	int64_t added = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		remove_files(cases[i]);
		assert_int_equal(add(connections[OTHER]), DATABASE_OK);
		remove_files(cases[i]);
		assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
		assert_int_equal(add(connections[OTHER]), DATABASE_OK);
		assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
		added += 4;
		assert_int_equal(count(connections[OTHER]), added);
		assert_int_equal(count(connections[BEHIND]), added);
	}
	assert_int_equal(database_times_lost(connections[OTHER]), 0);
	assert_int_equal(database_times_lost(connections[BEHIND]), 0);
}

static void nobody_goes_on_while_somebody_is_at_work_under_a_lock_that_has_gone(void **state)
{
	static const char *const lock[] = {"write.lock", NULL};
	static const char *const all[] = {"write.lock", "worker.db", "worker.db-wal",
					  "worker.db-shm", NULL};

	(void)state;
	remove_files(lock);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK); /* of which BEHIND knows nothing */
	assert_int_equal(database_write_begin(connections[OTHER], 0), DATABASE_OK);
	remove_files(all);
	assert_int_equal(add(connections[BEHIND]), DATABASE_BUSY);
	execute(database_handle(connections[OTHER]),
		"INSERT INTO events (kind, topic, created_ms) VALUES (0, 't', 0)");
	database_write_end(connections[OTHER]);
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(count(connections[OTHER]), 4);
	assert_int_equal(database_times_lost(connections[BEHIND]), 0);
}

static bool is_waited_for(const struct stat *lock)
{
	char line[256], inode[32];
	FILE *locks = fopen("/proc/locks", "r");
	bool found = false;

	MUST(locks);
	snprintf(inode, sizeof(inode), ":%llu ", (unsigned long long)lock->st_ino);
	while (!found && fgets(line, sizeof(line), locks))
		found = strstr(line, "->") && strstr(line, inode);
	fclose(locks);
	return found;
}

/* Holds a lock whose file goes, until somebody who has the next one waits for it, and lets that go
 * too. */
static void hold_lock(void *ready)
{
	const char *path = path_of("write.lock");
	int lock = open(path, O_RDWR);
	struct stat info;

	MUST(lock >= 0 && flock(lock, LOCK_EX) == 0 && fstat(lock, &info) == 0);
	MUST(unlink(path) == 0 && write(*(int *)ready, "!", 1) == 1);
	while (!is_waited_for(&info))
		usleep(1000);
	MUST(unlink(path) == 0 && close(open(path, O_RDWR | O_CREAT, 0600)) == 0);
}

static void whoever_writes_holds_the_lock_that_is_there(void **state)
{
	int ready[2];
	char word;

	(void)state;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		database_close(connections[i]);
		connections[i] = NULL;
	}
	assert_int_equal(pipe(ready), 0);
	pid_t child = start_child(hold_lock, &ready[1]);
	assert_int_equal(read(ready[0], &word, 1), 1);
	close(ready[0]);
	close(ready[1]);
	struct database *late = open_database();
	wait_for_child(child);
	assert_int_equal(database_write_begin(late, 0), DATABASE_OK);
	int lock = open(path_of("write.lock"), O_RDWR);
	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), -1);
	close(lock);
	database_write_end(late);
	database_close(late);
}

static void who_starts_when_the_directory_has_been_moved_finds_what_was_in_it(void **state)
{
	char away[160];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(add(connections[OTHER]), DATABASE_OK);
		snprintf(away, sizeof(away), "%s-%d", state_dir, i);
		assert_int_equal(rename(state_dir, away), 0);
		struct database *late = open_database();
		assert_int_equal(add(late), DATABASE_OK);
		assert_int_equal(count(late), 2 * i + 2);
		database_close(late);
	}
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(count(connections[OTHER]), 6);
	assert_int_equal(database_times_lost(connections[OTHER]), 0);
	assert_int_equal(database_times_lost(connections[BEHIND]), 0);
}

static void nobody_waits_for_a_pipe_in_the_place_of_a_file(void **state)
{
	static const char *const names[] = {"worker.db", "worker.db-wal", "worker.db-shm"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		remove_files((const char *const[]){names[i], NULL});
		assert_int_equal(mkfifo(path_of(names[i]), 0600), 0);
		assert_int_equal(add(connections[OTHER]), DATABASE_OK);
		assert_int_equal(count(connections[OTHER]), (int64_t)i + 1);
	}
}

/* As rsync and tar do. */
static void a_time_of_the_directory_that_was_set_back_hides_nothing(void **state)
{
	struct stat info;

	(void)state;
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	usleep(30000); /* by then the look that follows is remembered */
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(stat(state_dir, &info), 0);
	remove_files((const char *const[]){"worker.db-wal", NULL});
	assert_int_equal(
		utimensat(AT_FDCWD, state_dir, (struct timespec[]){info.st_atim, info.st_mtim}, 0),
		0);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(access(path_of("worker.db-wal"), F_OK), 0);
	assert_int_equal(count(connections[OTHER]), 3);
}

/* What cannot be looked for is not taken for gone. */
static void without_descriptors_nothing_is_put_in_the_place_of_what_somebody_has(void **state)
{
	static const char *const all[] = {"write.lock", "worker.db", "worker.db-wal",
					  "worker.db-shm", NULL};
	int64_t patience_ms = opening_patience_ms;
	struct rlimit limit, low;
	int spare = dup(0);

	(void)state;
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	opening_patience_ms = 0;
	for (rlim_t i = 0; i < 16; i++) {
		low = (struct rlimit){.rlim_cur = (rlim_t)spare + i / 2,
				      .rlim_max = limit.rlim_max};
		remove_files(all + i % 2); /* the lock's file too, or not */
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		(void)add(connections[OTHER]);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
	opening_patience_ms = patience_ms;
	close(spare);
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	assert_int_equal(database_times_lost(connections[BEHIND]), 0);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	assert_int_equal(database_times_lost(connections[OTHER]), 0);
}

/* Its log has gone again before anybody opened it: it is not one that a person has put there. */
static void what_was_put_back_in_part_is_put_back_again(void **state)
{
	static char content[1 << 20];
	char path[160];

	(void)state;
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	int from = open(path_of("worker.db"), O_RDONLY);
	ssize_t len = read(from, content, sizeof(content));
	close(from);
	snprintf(path, sizeof(path), "%s/copy", state_dir);
	int to = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(to, content, (size_t)len), len);
	close(to);
	generation_note_copy(connections[OTHER], path);
	assert_int_equal(rename(path, path_of("worker.db")), 0);
	remove_files((const char *const[]){"worker.db-wal", "worker.db-shm", NULL});
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	assert_int_equal(count(connections[BEHIND]), 2);
	assert_int_equal(database_times_lost(connections[BEHIND]), 0);
}

static void the_latest_that_nobody_has_any_more_leaves_a_jump(void **state)
{
	static const char *const all[] = {"worker.db", "worker.db-wal", "worker.db-shm", NULL};
	int64_t patience_ms = opening_patience_ms, last;

	(void)state;
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	remove_files(all);
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	last = newest(connections[OTHER]);
	database_close(connections[OTHER]);
	connections[OTHER] = NULL;
	remove_files(all);
	assert_int_equal(add(connections[BEHIND]), DATABASE_BUSY);
	opening_patience_ms = 0;
	assert_int_equal(add(connections[BEHIND]), DATABASE_OK);
	opening_patience_ms = patience_ms;
	assert_int_equal(count(connections[BEHIND]), 2);
	assert_true(newest(connections[BEHIND]) > last + 1);
	assert_int_equal(database_times_lost(connections[BEHIND]), 1);
}

static bool is_found(const struct generation *generation, enum database_file file)
{
	int fd = generation_open(connections[OTHER], generation, file);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Its number is given again as soon as nobody has it: by then it is another file's. */
static void a_file_with_the_number_of_one_that_is_gone_is_not_that_one(void **state)
{
	(void)state;
	assert_int_equal(add(connections[OTHER]), DATABASE_OK);
	struct generation latest = generation_latest(connections[OTHER]), other = latest;

	for (enum database_file i = MAIN_FILE; i <= INDEX_FILE; i++) {
		assert_true(is_found(&latest, i));
		if (latest.files[i].birth_ns == 0)
			skip(); /* not on this file system */
		other.files[i].birth_ns -= 1;
		assert_false(is_found(&other, i));
		assert_false(generation_has(&latest, &other, i));
		other.files[i].birth_ns = 0; /* where it cannot be told */
		assert_true(is_found(&other, i));
		assert_true(generation_has(&latest, &other, i));
	}
	other.files[MAIN_FILE].inode = latest.files[LOG_FILE].inode;
	other.files[LOG_FILE].inode = latest.files[INDEX_FILE].inode;
	assert_false(is_found(&other, MAIN_FILE));
	assert_false(is_found(&other, LOG_FILE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_goes_twice_is_put_back_as_it_was_last,
						open_them, close_them),
		cmocka_unit_test_setup_teardown(
			nobody_goes_on_while_somebody_is_at_work_under_a_lock_that_has_gone,
			open_them, close_them),
		cmocka_unit_test_setup_teardown(whoever_writes_holds_the_lock_that_is_there,
						open_them, close_them),
		cmocka_unit_test_setup_teardown(
			who_starts_when_the_directory_has_been_moved_finds_what_was_in_it,
			open_them, close_them),
		cmocka_unit_test_setup_teardown(nobody_waits_for_a_pipe_in_the_place_of_a_file,
						open_them, close_them),
		cmocka_unit_test_setup_teardown(
			a_time_of_the_directory_that_was_set_back_hides_nothing, open_them,
			close_them),
		cmocka_unit_test_setup_teardown(
			without_descriptors_nothing_is_put_in_the_place_of_what_somebody_has,
			open_them, close_them),
		cmocka_unit_test_setup_teardown(what_was_put_back_in_part_is_put_back_again,
						open_them, close_them),
		cmocka_unit_test_setup_teardown(the_latest_that_nobody_has_any_more_leaves_a_jump,
						open_them, close_them),
		cmocka_unit_test_setup_teardown(
			a_file_with_the_number_of_one_that_is_gone_is_not_that_one, open_them,
			close_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
