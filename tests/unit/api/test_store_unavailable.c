// needs: api/store.c
/*
 * The API's SQL when nothing can be written: what each operation says and leaves, and how long it
 * takes, when the database is locked or the disk is full; afterwards all works again.
 */
#include "tests/unit/api/store_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "shared/base/alloc.h"

enum { SLACK_MS = 5000 };

static void assert_unavailable(enum outcome outcome, const char *why)
{
	assert_int_equal(outcome, UNAVAILABLE);
	if (!strstr(database_status_text(last),
		    why)) /* the disk may be only one of the things that are full */
		fail_msg("\"%s\" does not say \"%s\"", database_status_text(last), why);
}

/* Every operation while nothing can be written; none may take longer than its deadline. */
static void expect_a_locked_database(void)
{
	int64_t id, start_ms = clock_monotonic_ms();
	struct gauges gauges;

	config.busy_timeout_ms = 200;
	assert_unavailable(enrol("b", false), "database is locked");
	assert_in_range(clock_monotonic_ms(), start_ms + 150, start_ms + SLACK_MS);
	assert_unavailable(publish("a", "1", &id), "database is locked");
	assert_unavailable(unregister("a"), "database is locked");
	assert_unavailable(enrol("a", true), "database is locked");
	/* Reads go on: an unknown topic is told from a locked database. */
	assert_int_equal(publish("unknown", "1", &id), REFUSED);
	assert_int_equal(gauges_read(gauge_reader, &gauges), DATABASE_OK);
}

static void nothing_has_changed_and_all_works_again(int64_t events)
{
	int64_t id;

	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_string_equal(
		query(handle, "SELECT group_concat(topic || require_token) FROM topics"),
		"a0,worker.status1");
	assert_int_equal(publish("a", "1", &id), DONE);
	assert_int_equal(enrol("b", false), DONE);
	assert_int_equal(unregister("b"), DONE);
}

static void a_locked_database_is_unavailable_within_the_deadline(void **state)
{
	(void)state;
	struct database *other = open_database();
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), DONE);
	assert_int_equal(database_write_begin(other, 0), DATABASE_OK);
	expect_a_locked_database();
	database_write_end(other);
	nothing_has_changed_and_all_works_again(events);
	database_close(other);
}

static void a_person_in_a_transaction_makes_it_unavailable_too(void **state)
{
	(void)state;
	sqlite3 *person = open_by_hand();
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), DONE);
	execute(person, "BEGIN IMMEDIATE");
	expect_a_locked_database();
	execute(person, "ROLLBACK");
	nothing_has_changed_and_all_works_again(events);
	sqlite3_close(person);
}

static int64_t time_of_a_refusal(void)
{
	int64_t id, start_ms = clock_monotonic_ms();

	assert_unavailable(publish("a", "1", &id), "database is locked");
	return clock_monotonic_ms() - start_ms;
}

static void after_a_timeout_the_next_ones_wait_a_tenth(void **state)
{
	(void)state;
	struct database *other = open_database();
	int64_t id;

	assert_int_equal(enrol("a", false), DONE);
	config.busy_timeout_ms = 400;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(database_write_begin(other, 0), DATABASE_OK);
		assert_in_range(time_of_a_refusal(), 400, 400 + SLACK_MS);
		assert_in_range(time_of_a_refusal(), 40, 399);
		database_write_end(other);
		/* One that succeeds makes it patient again. */
		assert_int_equal(publish("a", "1", &id), DONE);
	}
	database_close(other);
}

/* Publishes 100 KB until there is no room; at most `limit` times. */
static enum outcome fill(int limit)
{
	size_t len = 100 * 1024;
	char *payload = xcalloc(len, 1);
	enum outcome outcome = DONE;
	int64_t id;

	memset(payload, 'x', len);
	for (int i = 0; i < limit && outcome == DONE; i++)
		outcome = publish_bytes("a", payload, len, &id);
	free(payload);
	return outcome;
}

static void a_database_at_its_limit_is_full_and_then_works_again(void **state)
{
	(void)state;
	int64_t id;

	assert_int_equal(enrol("a", false), DONE);
	execute(handle, "PRAGMA max_page_count = 200");
	assert_unavailable(fill(100), "disk is full");
	int64_t events = query_number(handle, "SELECT count(*) FROM events");
	int64_t newest = query_number(handle, "SELECT max(id) FROM events");
	assert_unavailable(fill(1), "disk is full");
	assert_int_equal(publish("unknown", "1", &id), REFUSED);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM events"), events);
	assert_string_equal(query(handle, "PRAGMA integrity_check"), "ok");

	execute(handle, "PRAGMA max_page_count = 100000");
	assert_int_equal(fill(1), DONE);
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest + 1);
}

static void on_a_full_disk_nothing_is_done_by_halves(void **state)
{
	(void)state;
	int64_t id;
	int64_t events = query_number(handle, "SELECT count(*) FROM events");

	assert_int_equal(enrol("a", false), DONE);
	watch->disk_is_full = 1;
	assert_unavailable(unregister("a"), "disk is full");
	assert_unavailable(enrol("b", false), "disk is full");
	assert_unavailable(publish("a", "1", &id), "disk is full");
	assert_int_equal(publish("unknown", "1", &id), REFUSED);
	watch->disk_is_full = 0;
	nothing_has_changed_and_all_works_again(events);
}

/* A disk of 2 MiB, a file on it that can be deleted, and nothing else but the database. */
static void fill_a_real_disk(void *argument)
{
	char ballast[64 * 1024] = {1};
	char why[DATABASE_WHY_SIZE];
	int64_t id;

	(void)argument;
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mkdir(path_of("disk"), 0700) != 0 ||
	    mount("none", path_of("disk"), "tmpfs", 0, "mode=0700,size=2m") != 0)
		_exit(NOT_ALLOWED);
	MUST(chdir(path_of("disk")) == 0);
	config.state_dir = (char[]){"."};
	int fd = open("ballast", O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 8; i++)
		MUST(write(fd, ballast, sizeof(ballast)) == sizeof(ballast));
	close(fd);

	database = database_open(&config, DATABASE_START_WAIT_MS, why);
	MUST(database);
	gauge_reader = gauge_reader_new(database, liveness, NULL);
	store = store_open(&config, database);
	MUST(enrol("a", false) == DONE);
	MUST(fill(100) == UNAVAILABLE && strstr(database_status_text(last), "disk is full"));
	while (publish("a", "1", &id) == DONE) /* until there is no room for the least */
		;
	MUST(strstr(database_status_text(last), "disk is full"));
	MUST(publish("unknown", "1", &id) == REFUSED);
	MUST(unlink("ballast") == 0);
	MUST(fill(1) == DONE && unregister("a") == DONE);
	MUST(strcmp(query(database_handle(database), "PRAGMA integrity_check"), "ok") == 0);
}

static void a_real_disk_that_is_full_is_one_too(void **state)
{
	(void)state;
	in_child_if_allowed(fill_a_real_disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(a_locked_database_is_unavailable_within_the_deadline),
		STORE_TEST(a_person_in_a_transaction_makes_it_unavailable_too),
		STORE_TEST(after_a_timeout_the_next_ones_wait_a_tenth),
		STORE_TEST(a_database_at_its_limit_is_full_and_then_works_again),
		STORE_TEST(on_a_full_disk_nothing_is_done_by_halves),
		STORE_TEST(a_real_disk_that_is_full_is_one_too),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
