/*
 * For tests on a real database: a directory of their own for each, the database in it, and children
 * that share it. Include it once, in the test program.
 *
 * A child has no cmocka: it reports by its exit status, see MUST. What is open is not shared with
 * it (neither SQLite nor the locks survive a fork): it opens its own.
 */
#ifndef TESTS_UNIT_DATABASE_FIXTURE_H
#define TESTS_UNIT_DATABASE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/database/database.h"
#include "tests/unit/gateway_rows.h"

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* A test that waits for ever ends the program, with another signal than the write lock's. */
enum { TEST_LIMIT_S = 150 };

static char base[64]; /* the test's directory */
static char state_dir[128]; /* in it, and not made yet */
static struct config config = {
	.redis_url = (char[]){""},
	.state_dir = state_dir,
	.topic_ttl_ms = 60000,
	.event_retention_ms = 60000,
	.event_limit = 1000,
	.busy_timeout_ms = 100,
	.max_topics = 1000,
	.database_max_bytes = 1 << 30,
};
static struct config default_config;

static inline void limit_time(void)
{
	static timer_t timer;
	static bool has_timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM};
	struct itimerspec when = {.it_value = {.tv_sec = TEST_LIMIT_S}};

	if (!has_timer)
		has_timer = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
	timer_settime(timer, 0, &when, NULL);
}

static inline int make_base(void **state)
{
	(void)state;
	limit_time();
	snprintf(base, sizeof(base), "/tmp/database-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	snprintf(state_dir, sizeof(state_dir), "%s/state", base);
	if (!default_config.state_dir)
		default_config = config;
	config = default_config;
	return 0;
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
	(void)info;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int remove_base(void **state)
{
	(void)state;
	return nftw(base, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#define DATABASE_TEST(test) cmocka_unit_test_setup_teardown(test, make_base, remove_base)

/* The path of a file in the state_dir; valid until the next call. */
static inline const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", state_dir, name);
	return path;
}

static inline struct database *open_database(void)
{
	char why[DATABASE_WHY_SIZE];
	struct database *database = database_open(&config, DATABASE_START_WAIT_MS, why);

	if (!database)
		fail_msg("%s", why);
	return database;
}

/* A person's sqlite3 on the same file, with SQLite's own habits. */
static inline sqlite3 *open_by_hand(void)
{
	sqlite3 *handle = NULL;

	assert_int_equal(sqlite3_open(path_of("worker.db"), &handle), SQLITE_OK);
	return handle;
}

static inline void execute(sqlite3 *handle, const char *sql)
{
	if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
}

/* The first column of the first row as text; "(none)" without a row, "(null)" for NULL. Valid until
 * the next call. */
static inline const char *query(sqlite3 *handle, const char *sql)
{
	static char text[512];
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(handle, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
	int result = sqlite3_step(statement);
	const char *value =
		result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "(none)";
	snprintf(text, sizeof(text), "%s", value ? value : "(null)");
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
	sqlite3_finalize(statement);
	return text;
}

static inline int64_t query_number(sqlite3 *handle, const char *sql)
{
	return strtoll(query(handle, sql), NULL, 10);
}

/* Runs `work` in a child and returns its pid. */
static inline pid_t start_child(void (*work)(void *), void *argument)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(argument);
		_exit(0);
	}
	return child;
}

static inline void wait_for_child(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static inline void in_child(void (*work)(void *), void *argument)
{
	wait_for_child(start_child(work, argument));
}

/* What a child ends with that was not allowed to do its work: not root, or no mount here. */
enum { NOT_ALLOWED = 77 };

/* The same, but the test is skipped when the child was not allowed to. */
static inline void in_child_if_allowed(void (*work)(void *))
{
	int status;
	pid_t child = start_child(work, NULL);

	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
		skip();
	assert_int_equal(status, 0);
}

/* Ends a child that waits for it. */
static inline void kill_child(pid_t child)
{
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

#endif
