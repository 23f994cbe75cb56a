// needs: api/routes.c api/status_handler.c
// needs: api/command.c api/response.c api/service.c api/store.c
// needs: api/notify.c api/metrics_handler.c
/*
 * The API as a whole while SQLite's calls fail, see faulty_files.h: a database that was deleted and
 * cannot be opened anew is a 503 for every verb, until it can; the process never ends over it.
 */
#include "tests/unit/api/service_fixture.h"

#include <fcntl.h>
#include <time.h>

#include "tests/unit/faulty_files.h"

/* See fault_sweep.h: allocations are many. */
enum { MOST_CALLS = 20000, EACH_OF = 200, STRIDE = 37 };

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
	int status; /* of a new database */
} requests[] = {
	{"register", "{\"topic\":\"t\"}", 200},
	{"publish", "{\"topic\":\"t\",\"payload\":1}", 200},
	{"unregister", "{\"topic\":\"t\"}", 200},
	{"disconnect", "{\"topic\":\"t\"}", 200},
	{"status", "", 503}, /* no gateway */
};

enum { REQUESTS = sizeof(requests) / sizeof(requests[0]) };

static void answer_all(bool has_database)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		const char *body = post(requests[i].verb, requests[i].body,
					has_database ? requests[i].status : 503);
		if (!has_database)
			assert_string_equal(body, "unavailable: no database\n");
	}
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
	delete_database();
	faults_on(fault, to_pass, lasts);
	refresh();
	if (lasts && !service->database)
		answer_all(false);
	service_tick(service);
	service_upkeep(service);
	int failed = faults_off();
	if (failed == 0)
		assert_non_null(service->database);
	refresh();
	assert_non_null(service->database);
	answer_all(true);
	return failed;
}

static void without_a_database_every_verb_is_a_503_until_there_is_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < FAULTS; i++) {
		int to_pass = 0;

		while (try_once(&faults[i], to_pass, to_pass % 2 != 0) > 0) {
			to_pass += to_pass < EACH_OF || getenv("FAULTS_ALL") ? 1 : STRIDE;
			assert_true(to_pass < MOST_CALLS);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			without_a_database_every_verb_is_a_503_until_there_is_one, open_quietly,
			close_quietly),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
