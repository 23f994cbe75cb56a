/*
 * An operation under every fault of faulty_files.h: of each kind of call the first fails, then the
 * second, and so on until the operation is through without reaching it; passing and lasting, with
 * the write-ahead log in use and copied back, and after a person has changed the schema, so that it
 * is read anew. After each attempt the state must be whole, and at the end of each row the
 * operation works. $FAULTS_SHOW tells how many calls there were.
 *
 * A program that includes it includes it once, and calls faults_prepare() first in main.
 */
#ifndef TESTS_UNIT_FAULT_SWEEP_H
#define TESTS_UNIT_FAULT_SWEEP_H

#include "tests/unit/database_fixture.h"
#include "tests/unit/faulty_files.h"

#include "shared/database/write_lock.h"

struct operation {
	const char *name;
	unsigned reaches; /* the calls that it must be seen to make, REACHES(...) */
	void (*prepare)(void); /* before each attempt; no faults */
	bool (*run)(void); /* under faults; true: it says that it was done */
	void (*check)(bool done); /* that what it said is so; no faults */
};

/* How a fault comes: bits. */
enum { LASTS = 1, LOG_COPIED_BACK = 2, SCHEMA_CHANGED = 4, WAYS = 6 };

static sqlite3 *witness; /* a connection that sees no faults */
static char attempt[128]; /* what is being tried, "" when nothing is */

static inline void open_witness(void)
{
	witness = open_by_hand();
	execute(witness, "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF");
	sqlite3_db_config(witness, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

static inline void close_witness(void)
{
	assert_int_equal(sqlite3_close(witness), SQLITE_OK);
	witness = NULL;
}

/* In a teardown: of a test that failed, what it was doing. */
static inline void tell_attempt(void)
{
	faults_off();
	if (attempt[0])
		print_error("while %s\n", attempt);
	attempt[0] = '\0';
}

/* Nobody holds our lock or SQLite's. */
static inline void assert_unlocked(void)
{
	int lock = write_lock_open(path_of("write.lock"));

	assert_true(lock >= 0);
	assert_true(write_lock_try(lock));
	close(lock);
	execute(witness, "BEGIN IMMEDIATE; ROLLBACK");
}

/* Nothing of this connection is under way: no transaction, no statement that holds a snapshot. */
static inline void assert_at_rest(struct database *database)
{
	sqlite3 *handle = database_handle(database);

	assert_true(sqlite3_get_autocommit(handle));
	for (sqlite3_stmt *each = sqlite3_next_stmt(handle, NULL); each;
	     each = sqlite3_next_stmt(handle, each))
		if (sqlite3_stmt_busy(each))
			fail_msg("still under way: %s", sqlite3_sql(each));
}

static inline void assert_whole(void)
{
	assert_unlocked();
	assert_string_equal(query(witness, "PRAGMA integrity_check"), "ok");
	/* Ids are one unbroken run. */
	assert_string_equal(query(witness, "SELECT max(id) - min(id) + 1 = count(*) FROM events"),
			    "1");
}

/* One attempt; how many calls have failed in it. */
static inline int try_once(const struct operation *operation, const struct fault *fault,
			   int to_pass, int way)
{
	snprintf(attempt, sizeof(attempt), "%s: %s %d fails%s%s%s", operation->name, fault->name,
		 to_pass + 1, way & LASTS ? " and goes on failing" : "",
		 way & LOG_COPIED_BACK ? ", the log copied back" : "",
		 way & SCHEMA_CHANGED ? ", the schema changed" : "");
	execute(witness, "PRAGMA wal_checkpoint"); /* so that the log stays short */
	operation->prepare();
	if (way & SCHEMA_CHANGED)
		execute(witness, "CREATE TABLE mine (a); DROP TABLE mine");
	if (way & LOG_COPIED_BACK)
		execute(witness, "PRAGMA wal_checkpoint");
	faults_on(fault, to_pass, (way & LASTS) != 0);
	bool done = operation->run();
	int failed = faults_off();
	assert_whole();
	operation->check(done);
	if (failed == 0)
		assert_true(done);
	attempt[0] = '\0';
	return failed;
}

static inline void sweep_fault(const struct operation *operation, const struct fault *fault,
			       int ways, unsigned *reached)
{
	for (int way = 0; way < ways; way++) {
		int to_pass = 0;

		while (try_once(operation, fault, to_pass, way) > 0) {
			*reached |= REACHES(fault->call);
			to_pass = next_call(to_pass);
			assert_true(to_pass < MOST_CALLS);
		}
		if (getenv("FAULTS_SHOW"))
			fprintf(stderr, "# %s: %d times %s\n", operation->name, to_pass,
				fault->name);
	}
}

/* The first `ways` of them. */
static inline void sweep_ways(const struct operation *operation, int ways)
{
	unsigned reached = 0;

	for (size_t i = 0; i < FAULTS; i++)
		sweep_fault(operation, &faults[i], ways, &reached);
	if (operation->reaches & ~reached)
		fail_msg("%s did not reach %x", operation->name, operation->reaches & ~reached);
}

static inline void sweep(const struct operation *operation)
{
	sweep_ways(operation, WAYS);
}

#endif
