/*
 * What keeps the database small, and the totals, while SQLite's calls fail, see fault_sweep.h: a
 * step that says that it was done has done its work, one that says that it was not has lost
 * nothing, and what was counted is added once.
 */
#include "tests/unit/fault_sweep.h"

#include <fcntl.h>

#include "shared/counters/totals.h"
#include "shared/database/housekeeping.h"

enum { OLD_EVENTS = 6, YOUNG_EVENTS = 3, LATER_MS = 600000 };

static struct database *database;
static struct housekeeping *housekeeping;
static struct totals *totals;
static int64_t now_ms; /* of the steps: all that was there at the start is old */

static int open_all(void **state)
{
	if (make_base(state) != 0)
		return -1;
	config.durability = CONFIG_DURABILITY_FULL;
	database = open_database();
	housekeeping = housekeeping_new(database);
	totals = totals_new(database);
	open_witness();
	now_ms = clock_wall_ms() + LATER_MS;
	return 0;
}

static int close_all(void **state)
{
	tell_attempt();
	housekeeping_free(housekeeping);
	totals_free(totals);
	database_close(database);
	close_witness();
	return remove_base(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

static const unsigned all_calls = REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
				  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC);

static int64_t first_young; /* id */

static void add_events(int count, int64_t created_ms)
{
	char sql[160];

	/* Of several pages, so that there is something to be freed. */
	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (kind, topic, created_ms, payload) "
		 "VALUES (0, 'a', %lld, hex(zeroblob(5000)))",
		 (long long)created_ms);
	for (int i = 0; i < count; i++)
		execute(witness, sql);
}

static void make_old_things(void)
{
	execute(witness, "BEGIN IMMEDIATE;"
			 "DELETE FROM events WHERE id < (SELECT max(id) FROM events);"
			 "UPDATE events SET created_ms = 1;"
			 "INSERT OR REPLACE INTO topics VALUES ('expired', 0, 1, 1), "
			 "('live', 0, 1, 9000000000000000)");
	add_events(OLD_EVENTS, 1);
	first_young = query_number(witness, "SELECT max(id) + 1 FROM events");
	add_events(YOUNG_EVENTS, now_ms);
	execute(witness, "COMMIT");
}

static bool run_step(void)
{
	bool more = false;

	return housekeeping_step(housekeeping, housekeeping_limits_of(&config), now_ms, 1000,
				 &more) == DATABASE_OK;
}

static void check_step(bool done)
{
	assert_at_rest(database);
	assert_int_equal(query_number(witness, "SELECT count(*) FROM topics WHERE topic = 'live'"),
			 1);
	assert_int_equal(query_number(witness, "SELECT max(id) FROM events"),
			 first_young + YOUNG_EVENTS - 1);
	if (!done) {
		assert_true(query_number(witness, "SELECT min(id) FROM events") <= first_young);
		return;
	}
	assert_int_equal(
		query_number(witness, "SELECT count(*) FROM topics WHERE topic = 'expired'"), 0);
	assert_int_equal(query_number(witness, "SELECT min(id) FROM events"), first_young);
}

static void what_is_old_goes_or_the_step_says_that_it_failed(void **state)
{
	(void)state;
	sweep(&(struct operation){"housekeeping", all_calls, make_old_things, run_step,
				  check_step});
}

/* Whether all of the log is in the database file: the index of the log says how many frames it has
 * and how many are copied back (walformat.html of SQLite). */
static bool is_copied_back(void)
{
	enum { FRAMES_AT = 16, COPIED_AT = 96 };
	uint32_t frames = 0, copied = 0;
	int fd = open(path_of("worker.db-shm"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &frames, sizeof(frames), FRAMES_AT), sizeof(frames));
	assert_int_equal(pread(fd, &copied, sizeof(copied), COPIED_AT), sizeof(copied));
	close(fd);
	return frames == copied;
}

static int64_t newest_id;

static void fill_log(void)
{
	execute(witness, "DELETE FROM events WHERE id < (SELECT max(id) FROM events)");
	add_events(2, now_ms);
	newest_id = query_number(witness, "SELECT max(id) FROM events");
}

static bool run_checkpoint(void)
{
	return database_checkpoint(database, clock_monotonic_ms() + 1000) == DATABASE_OK;
}

static void check_checkpoint(bool done)
{
	assert_at_rest(database);
	assert_int_equal(query_number(witness, "SELECT max(id) FROM events"), newest_id);
	if (done)
		assert_true(is_copied_back());
	/* It is not in the way of the next one. */
	assert_true(run_checkpoint());
	assert_true(is_copied_back());
}

static void a_checkpoint_is_whole_or_can_be_done_again(void **state)
{
	(void)state;
	sweep(&(struct operation){"checkpoint", all_calls, fill_log, run_checkpoint,
				  check_checkpoint});
}

static struct counters counted;
static int64_t written; /* as of the last attempt that succeeded */

static void count_something(void)
{
	execute(witness, "UPDATE topics SET registered_ms = registered_ms + 1");
	counted.counts[COUNT_PUBLISHES]++;
	counted.counts[COUNT_REGISTERS] += 2;
	histogram_add(&counted.latencies[LATENCY_COMMIT], 100);
}

static bool run_totals_write(void)
{
	return totals_write(totals, &counted, 1000) == DATABASE_OK;
}

static void check_totals_write(bool done)
{
	struct counters sums;

	assert_at_rest(database);
	if (done)
		written = counted.counts[COUNT_PUBLISHES];
	assert_int_equal(totals_read(totals, &sums), DATABASE_OK);
	assert_int_equal(sums.counts[COUNT_PUBLISHES], written);
	assert_int_equal(sums.counts[COUNT_REGISTERS], 2 * written);
	assert_int_equal(sums.latencies[LATENCY_COMMIT].sum_us, 100 * written);
	assert_int_equal(totals_are_due(totals, &counted), !done);
}

static void what_was_counted_is_added_once(void **state)
{
	(void)state;
	sweep(&(struct operation){"totals written", all_calls, count_something, run_totals_write,
				  check_totals_write});
}

static struct counters sums_read;

static bool run_read(void)
{
	return totals_read(totals, &sums_read) == DATABASE_OK;
}

static void check_read(bool done)
{
	assert_at_rest(database);
	if (done)
		assert_int_equal(sums_read.counts[COUNT_PUBLISHES],
				 counted.counts[COUNT_PUBLISHES]);
}

static void count_and_write(void)
{
	count_something();
	assert_true(run_totals_write());
	execute(witness, "UPDATE counters SET value = value");
}

static void totals_are_right_or_not_said(void **state)
{
	(void)state;
	counted = (struct counters){0};
	sweep(&(struct operation){"totals read", REACHES(CALL_READ) | REACHES(CALL_MALLOC),
				  count_and_write, run_read, check_read});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(what_is_old_goes_or_the_step_says_that_it_failed),
		FAULT_TEST(a_checkpoint_is_whole_or_can_be_done_again),
		FAULT_TEST(what_was_counted_is_added_once),
		FAULT_TEST(totals_are_right_or_not_said),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
