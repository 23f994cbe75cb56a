// needs: api/routes.c api/poll_handler.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/polls.c api/store.c
// needs: api/metrics_handler.c api/autostart.c
/*
 * The API as a whole while SQLite's calls fail, see faulty_files.h: a database that was deleted and
 * cannot be put back is a 503 for every verb, until it can; nothing that was answered with 200 is
 * lost, and the process never ends over it.
 */
#include "tests/unit/api/service_fixture.h"

#include <fcntl.h>
#include <time.h>

#include "tests/unit/faulty_files.h"

static int stderr_fd = -1;

/* What the service logs, several thousand times, is of no interest. */
static int open_quietly(void **state)
{
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	stderr_fd = dup(STDERR_FILENO);
	dup2(nowhere, STDERR_FILENO);
	close(nowhere);
	return open_service(state);
}

static int close_quietly(void **state)
{
	faults_off();
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	return close_service(state);
}

static const struct {
	const char *verb, *body;
	int status; /* when all is well */
} requests[] = {
	{"register", "{\"topic\":\"t\"}", 200},
	{"publish", "{\"topic\":\"t\",\"payload\":1}", 200},
	{"unregister", "{\"topic\":\"t\"}", 200},
	{"disconnect", "{\"topic\":\"t\"}", 200},
	{"status", "", 503}, /* no gateway */
};

enum { REQUESTS = sizeof(requests) / sizeof(requests[0]) };

static void answer_all(void)
{
	for (size_t i = 0; i < REQUESTS; i++)
		post(requests[i].verb, requests[i].body, requests[i].status);
}

static int64_t count_events(int64_t newest)
{
	char sql[96];
	sqlite3_stmt *count = NULL;

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM events WHERE id <= %lld",
		 (long long)newest);
	assert_int_equal(
		sqlite3_prepare_v2(database_handle(service->database), sql, -1, &count, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(count), SQLITE_ROW);
	int64_t events = sqlite3_column_int64(count, 0);
	sqlite3_finalize(count);
	return events;
}

static void delete_database(void)
{
	static const char *const names[] = {"worker.db", "worker.db-wal", "worker.db-shm"};
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
}

/* As if the time until the next look had passed. */
static void refresh(void)
{
	service->looked_ms = 0;
	service_refresh(service);
}

/* How many calls have failed. */
static int try_once(const struct fault *fault, int to_pass, bool lasts)
{
	int64_t newest = sqlite3_last_insert_rowid(database_handle(service->database));
	int64_t events = count_events(newest);

	delete_database();
	faults_on(fault, to_pass, lasts);
	refresh();
	service_tick(service);
	int failed = faults_off();
	refresh();
	assert_int_equal(count_events(newest), events);
	answer_all();
	service_upkeep(service);
	return failed;
}

static void a_deleted_database_is_put_back_sooner_or_later(void **state)
{
	(void)state;
	for (size_t i = 0; i < FAULTS; i++) {
		int to_pass = 0;

		while (try_once(&faults[i], to_pass, to_pass % 2 != 0) > 0) {
			to_pass = next_call(to_pass);
			assert_true(to_pass < MOST_CALLS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_deleted_database_is_put_back_sooner_or_later,
						open_quietly, close_quietly),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
