// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * The API's care for its database: what an operator reads when the housekeeping cannot be done.
 */
#include "tests/unit/api/service_fixture.h"

#include "tests/unit/captured_log.h"

/* As if a second had passed. */
static void keep_house(void)
{
	service->upkeep_ms -= 1000;
	CAPTURED(service_upkeep(service));
}

static void housekeeping_that_fails_is_said_once_and_when_it_works_again(void **state)
{
	(void)state;
	execute("INSERT INTO topics VALUES ('old', 0, 0, 1)");
	execute("CREATE TRIGGER in_the_way BEFORE DELETE ON topics "
		"BEGIN SELECT raise(ABORT, 'in the way'); END");
	keep_house();
	const char *line = next_write();
	assert_non_null(strstr(line, "level=warn"));
	assert_non_null(strstr(line, "msg=\"database unavailable\" use=\"housekeeping\" "
				     "why=\"database error\" sqlite=\"in the way\""));
	keep_house();
	assert_string_equal(next_write(), "");
	execute("DROP TRIGGER in_the_way");
	keep_house();
	assert_non_null(strstr(next_write(), "msg=\"database available again\" "
					     "use=\"housekeeping\" times=2"));
	keep_house();
	assert_string_equal(next_write(), "");
}

static void totals_that_cannot_be_written_are_said_once_and_when_they_can(void **state)
{
	(void)state;
	service->counters.counts[COUNT_PUBLISHES]++;
	execute("CREATE TRIGGER in_the_way BEFORE INSERT ON counters "
		"BEGIN SELECT raise(ABORT, 'in the way'); END");
	CAPTURED(service_tick(service));
	assert_non_null(strstr(next_write(), "msg=\"database unavailable\" use=\"counting\" "
					     "why=\"database error\" sqlite=\"in the way\""));
	CAPTURED(service_tick(service));
	assert_string_equal(next_write(), "");
	execute("DROP TRIGGER in_the_way");
	CAPTURED(service_tick(service));
	assert_non_null(strstr(next_write(), "msg=\"database available again\" "
					     "use=\"counting\" times=2"));
}

static void housekeeping_that_others_hold_up_is_no_trouble(void **state)
{
	(void)state;
	sqlite3 *person = NULL;
	char path[256];

	snprintf(path, sizeof(path), "%s/worker.db", directory);
	assert_int_equal(sqlite3_open(path, &person), SQLITE_OK);
	execute("INSERT INTO topics VALUES ('old', 0, 0, 1)");
	assert_int_equal(sqlite3_exec(person, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	keep_house();
	assert_string_equal(next_write(), "");
	sqlite3_close(person);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			housekeeping_that_fails_is_said_once_and_when_it_works_again, open_service,
			close_service),
		cmocka_unit_test_setup_teardown(
			totals_that_cannot_be_written_are_said_once_and_when_they_can, open_service,
			close_service),
		cmocka_unit_test_setup_teardown(housekeeping_that_others_hold_up_is_no_trouble,
						open_service, close_service),
	};

	return start_capture() ? cmocka_run_group_tests(tests, NULL, stop_capture) : EXIT_FAILURE;
}
