/*
 * Counters into a real database and back: totals over many processes, nothing counted twice,
 * nothing lost when a write fails, nothing written when nothing was counted.
 */
#include "tests/unit/database_fixture.h"

#include "shared/counters/totals.h"
#include "shared/database/write_lock.h"

static struct database *database;
static struct totals *totals;
static struct counters counted;

static int open_totals(void **state)
{
	if (make_base(state) != 0)
		return -1;
	database = open_database();
	totals = totals_new(database);
	counted = (struct counters){0};
	return 0;
}

static int close_totals(void **state)
{
	totals_free(totals);
	totals_free(NULL);
	database_close(database);
	return remove_base(state);
}

#define TOTALS_TEST(test) cmocka_unit_test_setup_teardown(test, open_totals, close_totals)

static void write_now(void)
{
	assert_int_equal(totals_write(totals, &counted, 1000), DATABASE_OK);
}

static struct counters read_all(void)
{
	struct counters sums;

	assert_int_equal(totals_read(totals, &sums), DATABASE_OK);
	return sums;
}

static int64_t value_of(const char *name, const char *label)
{
	char sql[200];

	snprintf(sql, sizeof(sql), "SELECT value FROM counters WHERE name = '%s' AND label = '%s'",
		 name, label);
	return query_number(database_handle(database), sql);
}

static void what_was_counted_is_read_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTER_CELLS; i++)
		counted.cells[i] = (int64_t)i * 3 + 1;
	write_now();
	struct counters sums = read_all();
	assert_memory_equal(&sums, &counted, sizeof(sums));
	assert_int_equal(query_number(database_handle(database), "SELECT count(*) FROM counters"),
			 COUNTER_CELLS);
}

static void only_what_is_new_is_added(void **state)
{
	(void)state;
	counted.counts[COUNT_PUBLISHES] = 5;
	write_now();
	write_now();
	assert_int_equal(value_of("publishes", ""), 5);
	counted.counts[COUNT_PUBLISHES] = 7;
	counted.counts[COUNT_DROP_OUTBOX_FULL] = 1;
	write_now();
	assert_int_equal(value_of("publishes", ""), 7);
	assert_int_equal(value_of("drops", "outbox_full"), 1);
}

static void only_what_was_counted_has_a_row(void **state)
{
	(void)state;
	counted.counts[COUNT_REGISTERS] = 2;
	histogram_add(&counted.latencies[LATENCY_FANOUT], 100);
	write_now();
	assert_int_equal(query_number(database_handle(database), "SELECT count(*) FROM counters"),
			 3);
	assert_int_equal(value_of("fanout_us", "128"), 1);
	assert_int_equal(value_of("fanout_us_sum", ""), 100);
}

static void nothing_is_due_when_nothing_was_counted(void **state)
{
	(void)state;
	assert_false(totals_are_due(totals, &counted));
	counted.latencies[LATENCY_COMMIT].sum_us++;
	assert_true(totals_are_due(totals, &counted));
	write_now();
	assert_false(totals_are_due(totals, &counted));
}

static void processes_add_up(void **state)
{
	(void)state;
	enum { PROCESSES = 4, ROUNDS = 25 };
	struct totals *all[PROCESSES];
	struct counters theirs[PROCESSES] = {{.cells = {0}}};

	for (int i = 0; i < PROCESSES; i++)
		all[i] = totals_new(database);
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < PROCESSES; i++) {
			theirs[i].counts[COUNT_DELIVERIES] += i + 1;
			assert_int_equal(totals_write(all[i], &theirs[i], 1000), DATABASE_OK);
		}
	for (int i = 0; i < PROCESSES; i++)
		totals_free(all[i]);
	assert_int_equal(read_all().counts[COUNT_DELIVERIES], ROUNDS * (1 + 2 + 3 + 4));
}

static void a_write_that_fails_is_made_up_for(void **state)
{
	(void)state;
	int other = write_lock_open(path_of("write.lock"));

	counted.counts[COUNT_PUBLISHES] = 3;
	assert_true(write_lock_try(other));
	assert_int_equal(totals_write(totals, &counted, 5), DATABASE_BUSY);
	assert_true(totals_are_due(totals, &counted));
	close(other);

	sqlite3 *person = open_by_hand();
	execute(person, "BEGIN IMMEDIATE");
	assert_int_equal(totals_write(totals, &counted, 5), DATABASE_BUSY);
	execute(person, "ROLLBACK");
	sqlite3_close(person);

	counted.counts[COUNT_PUBLISHES] = 4;
	write_now();
	assert_int_equal(value_of("publishes", ""), 4);
}

static void what_was_rolled_back_is_added_again(void **state)
{
	(void)state;
	sqlite3 *handle = database_handle(database);

	counted.counts[COUNT_PUBLISHES] = 3;
	execute(handle, "BEGIN IMMEDIATE");
	assert_int_equal(totals_add(totals, &counted), DATABASE_OK);
	execute(handle, "ROLLBACK");
	assert_true(totals_are_due(totals, &counted));
	execute(handle, "BEGIN IMMEDIATE");
	assert_int_equal(totals_add(totals, &counted), DATABASE_OK);
	execute(handle, "COMMIT");
	totals_added(totals, &counted);
	assert_false(totals_are_due(totals, &counted));
	assert_int_equal(value_of("publishes", ""), 3);
}

static void rows_of_others_are_left_alone(void **state)
{
	(void)state;
	execute(database_handle(database), "INSERT INTO counters VALUES ('of a newer version', '', "
					   "9), ('publishes', '', 100)");
	counted.counts[COUNT_PUBLISHES] = 1;
	write_now();
	assert_int_equal(read_all().counts[COUNT_PUBLISHES], 101);
	assert_int_equal(value_of("of a newer version", ""), 9);
}

static void a_read_leaves_no_transaction(void **state)
{
	(void)state;
	read_all();
	assert_true(sqlite3_get_autocommit(database_handle(database)));
}

static void people_see_latencies_with_their_share(void **state)
{
	(void)state;
	sqlite3 *handle = database_handle(database);

	for (int i = 0; i < 3; i++)
		histogram_add(&counted.latencies[LATENCY_COMMIT], 10);
	histogram_add(&counted.latencies[LATENCY_COMMIT], 1000000000);
	counted.counts[COUNT_PUBLISHES] = 4;
	write_now();
	assert_string_equal(query(handle, "SELECT group_concat(latency || ' ' || up_to_ms || ' ' "
					  "|| times || ' ' || percent_so_far, ', ') "
					  "FROM latency_overview"),
			    "commit 0.016 3 75.0, commit more 1 100.0");
	assert_string_equal(query(handle, "SELECT group_concat(name || ' ' || value) "
					  "FROM counter_overview"),
			    "publishes 4");
	assert_int_equal(query_number(handle, "SELECT events FROM gauge_overview"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOTALS_TEST(what_was_counted_is_read_back),
		TOTALS_TEST(only_what_is_new_is_added),
		TOTALS_TEST(only_what_was_counted_has_a_row),
		TOTALS_TEST(nothing_is_due_when_nothing_was_counted),
		TOTALS_TEST(processes_add_up),
		TOTALS_TEST(a_write_that_fails_is_made_up_for),
		TOTALS_TEST(what_was_rolled_back_is_added_again),
		TOTALS_TEST(rows_of_others_are_left_alone),
		TOTALS_TEST(a_read_leaves_no_transaction),
		TOTALS_TEST(people_see_latencies_with_their_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
