// needs: gateway/presence/database_thread.c gateway/presence/presence.c
/*
 * The gateway's database thread while SQLite's calls fail, see fault_sweep.h: what it could not
 * write it writes as soon as that works again, all of it and once; what it leaves behind at its end
 * is all or nothing.
 *
 * It runs here on the test's own thread. Where it would wake the event loop up, the test takes its
 * turn.
 */
#include "tests/unit/fault_sweep.h"

#include <fcntl.h>
#include <uv.h>

#include "gateway/presence/database_thread.h"

#define TOPIC "a topic"

enum { DEAD_PID = 1 << 22, DELIVERIES = 5, POSITION = 12345 };

static struct liveness *liveness;
static struct presence *presence;
static struct counters counters;
static char why[DATABASE_WHY_SIZE];

static int open_all(void **state)
{
	if (make_base(state) != 0)
		return -1;
	config.durability = CONFIG_DURABILITY_FULL;
	database_close(open_database());
	liveness = liveness_open(state_dir);
	open_witness();
	return liveness_claim_pid(liveness, getpid()) ? 0 : -1;
}

static int close_all(void **state)
{
	tell_attempt();
	liveness_close(liveness);
	close_witness();
	return remove_base(state);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

static const unsigned all_calls = REACHES(CALL_READ) | REACHES(CALL_WRITE) | REACHES(CALL_SYNC) |
				  REACHES(CALL_SHM_LOCK) | REACHES(CALL_MALLOC);

/* In the place of libuv's, which has no loop here. */
int uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb answered)
{
	(void)loop;
	(void)async;
	(void)answered;
	return 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb closed)
{
	closed(handle);
}

static uint32_t join(int64_t user_id)
{
	static const struct client_address unknown;

	return presence_join(presence, TOPIC, strlen(TOPIC), user_id, 0, &unknown,
			     TRANSPORT_STREAM);
}

static void deliver(int64_t times)
{
	counters.counts[COUNT_DELIVERIES] += times;
	presence_beat(presence, &counters, 0, housekeeping_limits_of(&config));
}

/* Rows of a gateway that was killed, work for the housekeeping, and three sockets. */
static void prepare_gateway(void)
{
	char sql[512];

	liveness_beat(liveness);
	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE;"
		 "DELETE FROM counters;"
		 "DELETE FROM sessions;"
		 "DELETE FROM gateways;"
		 "INSERT INTO gateways (" GATEWAY_COLUMNS ") VALUES (%d, '', '', 1, 1, 1, -1, 0);"
		 "INSERT INTO sessions (gateway, slot, topic, user_id, address, connected_ms, "
		 "expires_ms) VALUES (%d, 0, 'x', 1, '', 1, NULL);"
		 "INSERT OR REPLACE INTO topics VALUES ('expired', 0, 1, 1);"
		 "COMMIT",
		 DEAD_PID, DEAD_PID);
	execute(witness, sql);
	presence = presence_new(NULL, housekeeping_limits_of(&config), NULL, NULL);
	counters = (struct counters){0};
	presence_set_position(presence, POSITION);
	deliver(DELIVERIES);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(join(i), i);
	presence_ask(presence, PRESENCE_QUESTION);
}

/* What the database says, as text: now, and when the thread was told to end. */
static char written[512], at_the_end[sizeof(written)];

static void read_what_is_written(void)
{
	snprintf(written, sizeof(written), "%s",
		 query(witness,
		       "SELECT (SELECT coalesce(group_concat(pid || ':' || last_event_id), '') "
		       "FROM gateways) || ' ' || (SELECT "
		       "coalesce(group_concat(gateway || '.' || slot || topic || user_id), '') "
		       "FROM sessions) || ' ' || "
		       "(SELECT coalesce(sum(value), 0) FROM counters)"));
}

static void expect_written(const char *text, const char *sockets, int deliveries)
{
	char expected[512], pid[16];
	size_t len;

	snprintf(pid, sizeof(pid), "%d", getpid());
	len = (size_t)snprintf(expected, sizeof(expected), "%s:%d ", pid, POSITION);
	for (const char *at = sockets; *at; at++)
		len += (size_t)snprintf(expected + len, sizeof(expected) - len,
					"%s%s.%c" TOPIC "%c", at == sockets ? "" : ",", pid, *at,
					*at);
	snprintf(expected + len, sizeof(expected) - len, " %d", deliveries);
	assert_string_equal(text, expected);
}

/* What the test does when the thread has counted; the turn's number. */
static void (*take_turn)(void);
static int turn;

int uv_async_send(uv_async_t *async)
{
	(void)async;
	turn++;
	take_turn();
	return 0;
}

/* Faults that are to come later. */
static const struct fault *held;

static void hold_faults(void)
{
	held = plan.fault;
	plan.fault = NULL;
}

static void release_faults(void)
{
	plan.fault = held;
}

/* Faults pass after the first turn; by the second all is written. Meanwhile one socket has gone and
 * another has come. */
static void work_on(void)
{
	if (turn == 1) {
		faults_off();
		join(3);
		presence_leave(presence, 1);
		deliver(1);
		presence_ask(presence, PRESENCE_QUESTION);
	} else {
		read_what_is_written();
		memcpy(at_the_end, written, sizeof(written));
		presence_ask(presence, PRESENCE_END);
	}
}

/* The thread's whole life but its start. What it logs, several thousand times, is of no interest.
 */
static struct database_thread *open_thread(void)
{
	return database_thread_open(&config, liveness, presence, "somewhere", why);
}

static void run_thread(void)
{
	struct database_thread *thread = open_thread();
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), stderr_fd = dup(STDERR_FILENO);

	assert_non_null(thread);
	turn = 0;
	dup2(nowhere, STDERR_FILENO);
	if (take_turn == work_on)
		release_faults();
	database_thread_run(thread);
	plan.fault = NULL;
	database_thread_close(thread);
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	close(nowhere);
}

static bool run_work(void)
{
	hold_faults();
	take_turn = work_on;
	run_thread();
	return true;
}

static void check_work(bool done)
{
	assert_true(done);
	expect_written(at_the_end, "023", DELIVERIES + 1);
	read_what_is_written(); /* the thread has ended in order */
	assert_string_equal(written, "  6");
	presence_free(presence);
}

static void what_could_not_be_written_is_written_later(void **state)
{
	(void)state;
	sweep(&(struct operation){"work", all_calls, prepare_gateway, run_work, check_work});
}

/* It has written all, and is told to end while nothing works. */
static void end_it(void)
{
	read_what_is_written();
	memcpy(at_the_end, written, sizeof(written));
	deliver(1);
	presence_ask(presence, PRESENCE_END);
	release_faults();
}

static bool run_end(void)
{
	hold_faults();
	take_turn = end_it;
	run_thread();
	return true;
}

static void check_end(bool done)
{
	assert_true(done);
	read_what_is_written();
	expect_written(at_the_end, "012", DELIVERIES);
	if (strcmp(written, "  6") != 0)
		assert_string_equal(written, at_the_end);
	presence_free(presence);
}

static void it_leaves_all_its_rows_or_none(void **state)
{
	(void)state;
	sweep(&(struct operation){"end", all_calls & ~(REACHES(CALL_READ) | REACHES(CALL_SYNC)),
				  prepare_gateway, run_end, check_end});
}

static bool run_open(void)
{
	struct database_thread *thread = open_thread();

	database_thread_close(thread);
	return thread != NULL;
}

static void check_open(bool done)
{
	if (!done)
		assert_true(why[0]);
	presence_free(presence);
}

static void it_starts_or_says_why_not(void **state)
{
	(void)state;
	sweep_ways(&(struct operation){"start",
				       REACHES(CALL_OPEN) | REACHES(CALL_READ) |
					       REACHES(CALL_SHM_MAP) | REACHES(CALL_SHM_LOCK) |
					       REACHES(CALL_MALLOC),
				       prepare_gateway, run_open, check_open},
		   LASTS + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(what_could_not_be_written_is_written_later),
		FAULT_TEST(it_leaves_all_its_rows_or_none),
		FAULT_TEST(it_starts_or_says_why_not),
	};

	return faults_prepare() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_FAILURE;
}
