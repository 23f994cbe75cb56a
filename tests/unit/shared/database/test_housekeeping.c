/*
 * What is pruned and what is not, in batches, and that a step with nothing to do is free. That it
 * takes no checkpoint while somebody writes is shown in test_checkpoint.c.
 */
#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include "shared/database/housekeeping.h"

#define NOW_MS INT64_C(1700000000000)

static struct database *database;
static sqlite3 *handle;
static struct housekeeping *housekeeping;

static int open_house(void **state)
{
	memset(watch, 0, sizeof(*watch));
	if (make_base(state) != 0)
		return -1;
	config.event_retention_ms = 1000;
	config.event_limit = 100000;
	database = open_database();
	handle = database_handle(database);
	housekeeping = housekeeping_new(database);
	/* The row that every database begins with: as old as the clock of these tests. */
	execute(handle, "UPDATE events SET created_ms = 1700000000000");
	return 0;
}

static int close_house(void **state)
{
	housekeeping_free(housekeeping);
	database_close(database);
	return remove_base(state);
}

#define HOUSE_TEST(test) cmocka_unit_test_setup_teardown(test, open_house, close_house)

static int64_t count_events(void)
{
	return query_number(handle, "SELECT count(*) FROM events");
}

/* `count` pushes of `bytes`, made `age_ms` before now. */
static void add_events(int count, int64_t age_ms, int bytes)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		 "INSERT INTO events (kind, topic, payload, created_ms) "
		 "SELECT 0, 't', hex(zeroblob(%d)), %lld FROM n",
		 count, bytes / 2, (long long)(NOW_MS - age_ms));
	execute(handle, sql);
}

static void remove_first_event(void)
{
	execute(handle, "DELETE FROM events WHERE kind = 3");
}

/* One step at `now_ms` by the configuration as it is, which must be done. Returns whether another
 * should follow. */
static bool step(int64_t now_ms)
{
	bool more = true;

	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config), now_ms,
					   1000, &more),
			 DATABASE_OK);
	return more;
}

static void a_topic_goes_at_its_expiry(void **state)
{
	(void)state;
	execute(handle, "INSERT INTO topics VALUES ('past', 0, 0, 1699999999999), "
			"('now', 0, 0, 1700000000000), ('future', 0, 0, 1700000000001)");
	assert_false(step(NOW_MS - 2));
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 4);
	assert_false(step(NOW_MS - 1));
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 3);
	assert_false(step(NOW_MS));
	assert_string_equal(query(handle, "SELECT group_concat(topic) FROM topics"),
			    "future,worker.status");
	assert_false(step(INT64_MAX - 1));
	assert_string_equal(query(handle, "SELECT group_concat(topic) FROM topics"),
			    "worker.status");
}

static void an_event_goes_when_it_is_older_than_the_retention(void **state)
{
	(void)state;
	add_events(1, 1001, 10);
	add_events(1, 1000, 10);
	add_events(1, 0, 10);
	remove_first_event();
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 2);
	assert_false(step(NOW_MS + 1));
	assert_int_equal(count_events(), 1);
}

static void the_newest_event_stays_and_no_id_is_used_twice(void **state)
{
	(void)state;
	add_events(3, 5000, 10);
	int64_t newest = query_number(handle, "SELECT max(id) FROM events");
	assert_false(step(NOW_MS + 100000));
	assert_int_equal(count_events(), 1);
	int transactions = watch->transactions;
	assert_false(step(NOW_MS + 200000));
	assert_int_equal(watch->transactions, transactions); /* it has nothing to do */
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest);
	add_events(1, 0, 10);
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest + 1);
}

static void events_above_the_limit_go_however_young(void **state)
{
	(void)state;
	config.event_limit = 10;
	add_events(25, 0, 10);
	int64_t newest = query_number(handle, "SELECT max(id) FROM events");
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 10);
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest);
	config.event_limit = 1;
	step(NOW_MS);
	assert_int_equal(count_events(), 1);
}

static void a_crowded_database_loses_its_oldest_events(void **state)
{
	(void)state;
	config.database_max_bytes = 40 * 1024 * 1024;
	add_events(80, 0, 400 * 1024);
	int64_t newest = query_number(handle, "SELECT max(id) FROM events");
	assert_false(step(NOW_MS)); /* 32 MiB and a little */
	assert_int_equal(count_events(), 81);
	add_events(15, 0, 400 * 1024);
	while (step(NOW_MS))
		;
	assert_in_range(count_events(), 70, 94);
	assert_int_equal(query_number(handle, "SELECT max(id) FROM events"), newest + 15);
	assert_int_equal(query_number(handle, "SELECT max(id) - min(id) + 1 FROM events"),
			 count_events());
}

static void ids_stay_an_unbroken_run(void **state)
{
	(void)state;
	/* The clock stepped back: an old event behind young ones waits for its turn. */
	remove_first_event();
	add_events(1, 5000, 10);
	add_events(1, 0, 10);
	add_events(2, 5000, 10);
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 3);
	assert_int_equal(query_number(handle, "SELECT max(id) - min(id) FROM events"), 2);
	/* What is in the future is not pruned by age, and by number it is. */
	add_events(20, -1000000, 10);
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 23);
	config.event_limit = 5;
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 5);
}

static void much_goes_in_batches(void **state)
{
	(void)state;
	remove_first_event();
	add_events(1201, 5000, 10);
	execute(handle,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "
		"INSERT INTO topics SELECT 't' || i, 0, 0, i FROM n");
	assert_true(step(NOW_MS));
	assert_int_equal(count_events(), 701);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 101);
	assert_string_equal(query(handle, "SELECT min(expires_ms) FROM topics"), "501");
	assert_true(step(NOW_MS));
	assert_int_equal(count_events(), 201);
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 1);
	assert_int_equal(query_number(handle, "SELECT count(*) FROM topics"), 1);
}

static void a_batch_is_limited_in_bytes_too(void **state)
{
	(void)state;
	enum { PAYLOAD = 1024 * 1024 };

	add_events(10, 5000, PAYLOAD);
	remove_first_event();
	assert_true(step(NOW_MS));
	assert_int_equal(count_events(), 6); /* 4 MiB at a time */
	assert_true(step(NOW_MS));
	assert_int_equal(count_events(), 2);
	assert_false(step(NOW_MS));
	assert_int_equal(count_events(), 1);
}

static void nothing_to_do_takes_no_lock(void **state)
{
	(void)state;
	struct database *other = open_database();
	bool more = true;

	add_events(5, 0, 10);
	assert_int_equal(database_write_begin(other, 0), DATABASE_OK);
	int transactions = watch->transactions;
	assert_int_equal(
		housekeeping_step(housekeeping, housekeeping_limits_of(&config), NOW_MS, 0, &more),
		DATABASE_OK);
	assert_false(more);
	assert_int_equal(watch->transactions, transactions);
	assert_int_equal(watch->checkpoints, 0);
	database_write_end(other);
	database_close(other);
}

static void a_lock_that_is_taken_is_not_waited_for(void **state)
{
	(void)state;
	struct database *other = open_database();
	bool more = true;

	add_events(2, 5000, 10);
	assert_int_equal(database_write_begin(other, 0), DATABASE_OK);
	int64_t start_ms = clock_monotonic_ms();
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config),
					   NOW_MS + 5000, 0, &more),
			 DATABASE_BUSY);
	assert_false(more);
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config),
					   NOW_MS + 5000, 40, &more),
			 DATABASE_BUSY);
	assert_in_range(clock_monotonic_ms(), start_ms + 40, start_ms + 5000);
	assert_int_equal(count_events(), 3);
	database_write_end(other);
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config),
					   NOW_MS + 5000, 0, &more),
			 DATABASE_OK);
	assert_int_equal(count_events(), 1);
	/* It is left free. */
	assert_int_equal(database_write_begin(other, 0), DATABASE_OK);
	database_write_end(other);
	database_close(other);
}

static void a_person_in_a_transaction_is_not_waited_for(void **state)
{
	(void)state;
	sqlite3 *person = open_by_hand();
	bool more;

	add_events(2, 5000, 10);
	execute(person, "BEGIN IMMEDIATE");
	int64_t start_ms = clock_monotonic_ms();
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config),
					   NOW_MS + 5000, 0, &more),
			 DATABASE_BUSY);
	assert_true(clock_monotonic_ms() < start_ms + 5000);
	execute(person, "ROLLBACK");
	step(NOW_MS + 5000);
	assert_int_equal(count_events(), 1);
	sqlite3_close(person);
}

static void a_short_log_is_left_for_later(void **state)
{
	(void)state;
	add_events(10, 0, 1000);
	step(NOW_MS);
	assert_int_equal(watch->checkpoints, 0);
	add_events(1, 0, 5 * 1024 * 1024);
	step(NOW_MS);
	assert_int_equal(watch->checkpoints, 1);
	step(NOW_MS);
	assert_int_equal(watch->checkpoints, 1);
}

/* Old rows cannot go while the log has no room, and the log has none until it starts anew. */
static void a_full_disk_is_pruned_all_the_same(void **state)
{
	(void)state;
	bool more;

	add_events(50, 5000, 10000);
	remove_first_event();
	watch->disk_is_full = 1;
	assert_int_equal(housekeeping_step(housekeeping, housekeeping_limits_of(&config), NOW_MS,
					   1000, &more),
			 DATABASE_FULL);
	assert_int_equal(count_events(), 50);
	step(NOW_MS);
	assert_int_equal(count_events(), 1);
	assert_int_equal(watch->overlaps, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOUSE_TEST(a_topic_goes_at_its_expiry),
		HOUSE_TEST(an_event_goes_when_it_is_older_than_the_retention),
		HOUSE_TEST(the_newest_event_stays_and_no_id_is_used_twice),
		HOUSE_TEST(events_above_the_limit_go_however_young),
		HOUSE_TEST(a_crowded_database_loses_its_oldest_events),
		HOUSE_TEST(ids_stay_an_unbroken_run),
		HOUSE_TEST(much_goes_in_batches),
		HOUSE_TEST(a_batch_is_limited_in_bytes_too),
		HOUSE_TEST(nothing_to_do_takes_no_lock),
		HOUSE_TEST(a_lock_that_is_taken_is_not_waited_for),
		HOUSE_TEST(a_person_in_a_transaction_is_not_waited_for),
		HOUSE_TEST(a_short_log_is_left_for_later),
		HOUSE_TEST(a_full_disk_is_pruned_all_the_same),
	};

	return watch_files() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
