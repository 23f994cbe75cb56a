// needs: gateway/presence/presence_writer.c gateway/presence/presence_rows.c
// needs: gateway/presence/client_address.c
/*
 * The gateway's database thread while SQLite's calls fail, see fault_sweep.h: what it could not
 * write it writes as soon as that works again, all of it and once; what it leaves behind at its end
 * is all or nothing.
 *
 * Its loop runs here on the test's own thread. Where it would wake the event loop up, the test
 * takes its turn.
 */
#include "tests/unit/fault_sweep.h"

#include <fcntl.h>

#include "gateway/presence/presence_writer.h"

#define TOPIC "a topic"

enum { SLOTS = 4, DEAD_PID = 1 << 22, DELIVERIES = 5, POSITION = 12345 };

static struct liveness *liveness;
static struct presence presence;
static char why[DATABASE_WHY_SIZE], somewhere[] = "somewhere";

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

static void make_presence(void)
{
	presence = (struct presence){
		.options = {.config = &config, .liveness = liveness},
		.address = somewhere,
		.totals = totals_new(),
		.limits = housekeeping_limits_of(&config),
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.wake = PTHREAD_COND_INITIALIZER,
		.slots = calloc(SLOTS, sizeof(struct slot)),
		.slot_count = SLOTS,
		.free_slot = NO_SLOT,
		.dirty_slot = NO_SLOT,
		.last_event_id = POSITION,
		.count_wanted = true,
	};
	assert_non_null(presence.slots);
}

static void change_slot(uint32_t number, const char *topic)
{
	struct slot *slot = &presence.slots[number];

	slot->topic = topic;
	slot->topic_len = topic ? (uint16_t)strlen(topic) : 0;
	slot->user_id = number;
	if (slot->dirty)
		return;
	slot->dirty = true;
	slot->next_dirty = presence.dirty_slot;
	presence.dirty_slot = number;
}

/* Rows of a gateway that was killed, work for the housekeeping, and three sockets. */
static void prepare_gateway(void)
{
	char sql[512];

	liveness_beat(liveness, getpid());
	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE;"
		 "DELETE FROM counters;"
		 "DELETE FROM sessions;"
		 "DELETE FROM gateways;"
		 "INSERT INTO gateways (" GATEWAY_COLUMNS ") VALUES (%d, '', '', 1, 1, 1, -1, 0);"
		 "INSERT INTO sessions VALUES (%d, 0, 'x', 1, '', 1, NULL);"
		 "INSERT OR REPLACE INTO topics VALUES ('expired', 0, 1, 1);"
		 "COMMIT",
		 DEAD_PID, DEAD_PID);
	execute(witness, sql);
	make_presence();
	presence.figures.counters.counts[COUNT_DELIVERIES] = DELIVERIES;
	for (uint32_t i = 0; i < 3; i++)
		change_slot(i, TOPIC);
}

static void free_presence(void)
{
	totals_free(presence.totals);
	free(presence.slots);
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
		change_slot(1, NULL);
		change_slot(3, TOPIC);
		presence.figures.counters.counts[COUNT_DELIVERIES]++;
		presence.count_wanted = true;
	} else {
		read_what_is_written();
		memcpy(at_the_end, written, sizeof(written));
		presence.stop = true;
	}
}

/* The thread's whole life but its start. What it logs, several thousand times, is of no interest.
 */
static void run_writer(void)
{
	struct presence_writer *writer = presence_writer_open(&presence, why);
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), stderr_fd = dup(STDERR_FILENO);

	assert_non_null(writer);
	turn = 0;
	dup2(nowhere, STDERR_FILENO);
	if (take_turn == work_on)
		release_faults();
	presence_writer_run(writer);
	plan.fault = NULL;
	presence_writer_close(writer);
	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	close(nowhere);
}

static bool run_work(void)
{
	hold_faults();
	take_turn = work_on;
	run_writer();
	return true;
}

static void check_work(bool done)
{
	assert_true(done);
	expect_written(at_the_end, "023", DELIVERIES + 1);
	read_what_is_written(); /* the thread has ended in order */
	assert_string_equal(written, "  6");
	free_presence();
}

static void what_could_not_be_written_is_written_later(void **state)
{
	(void)state;
	sweep(&(struct operation){"writer", all_calls, prepare_gateway, run_work, check_work});
}

/* It has written all, and is told to end while nothing works. */
static void end_it(void)
{
	read_what_is_written();
	memcpy(at_the_end, written, sizeof(written));
	presence.figures.counters.counts[COUNT_DELIVERIES]++;
	presence.stop = true;
	release_faults();
}

static bool run_end(void)
{
	hold_faults();
	take_turn = end_it;
	run_writer();
	return true;
}

static void check_end(bool done)
{
	assert_true(done);
	read_what_is_written();
	expect_written(at_the_end, "012", DELIVERIES);
	if (strcmp(written, "  6") != 0)
		assert_string_equal(written, at_the_end);
	free_presence();
}

static void it_leaves_all_its_rows_or_none(void **state)
{
	(void)state;
	sweep(&(struct operation){"end", all_calls & ~(REACHES(CALL_READ) | REACHES(CALL_SYNC)),
				  prepare_gateway, run_end, check_end});
}

static bool run_open(void)
{
	struct presence_writer *writer = presence_writer_open(&presence, why);

	if (writer)
		presence_writer_close(writer);
	return writer != NULL;
}

static void check_open(bool done)
{
	if (!done)
		assert_true(why[0]);
	free_presence();
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
