/*
 * For tests of checkpoints, on a real database whose files are watched. What was copied back is
 * seen in the files themselves: the bytes of worker.db, and in the log's index the count of frames
 * that are in worker.db already. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_CHECKPOINT_FIXTURE_H
#define TESTS_UNIT_CHECKPOINT_FIXTURE_H

#include "tests/unit/database_fixture.h"
#include "tests/unit/watched_files.h"

#include <fcntl.h>

/* The log's index, see walformat.html of SQLite: two copies of a header, then the checkpoint's
 * state. */
struct index_header {
	uint32_t version, unused, change;
	uint8_t is_init, big_endian_sums;
	uint16_t page_size;
	uint32_t frames, pages, frame_sum[2], salt[2], sum[2];
};

struct files {
	uint64_t database_sum; /* of all bytes of worker.db */
	int64_t database_size, log_size;
	uint32_t frames; /* in the log */
	uint32_t copied; /* of them, into worker.db */
	uint32_t salt; /* another one: the log was started anew */
};

static struct files *shared_files;

/* Once in the program, before the tests. */
static inline bool share_and_watch_files(void)
{
	shared_files = mmap(NULL, sizeof(*shared_files), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared_files != MAP_FAILED && watch_files();
}

static inline int make_watched_base(void **state)
{
	memset(watch, 0, sizeof(*watch));
	return make_base(state);
}

#define CHECKPOINT_TEST(test) cmocka_unit_test_setup_teardown(test, make_watched_base, remove_base)

/* In a child: a process that closes a file loses all its POSIX locks on it, SQLite's too. */
static inline void look_at_files(void *unused)
{
	struct index_header index[2];
	struct stat info;
	unsigned char bytes[4096];
	uint64_t sum = UINT64_C(14695981039346656037); /* FNV-1a */
	ssize_t len;
	int fd = open(path_of("worker.db-shm"), O_RDONLY);

	(void)unused;
	MUST(fd >= 0 && read(fd, index, sizeof(index)) == sizeof(index));
	MUST(read(fd, &shared_files->copied, 4) == 4);
	shared_files->frames = index[0].frames;
	shared_files->salt = index[0].salt[0];
	MUST(stat(path_of("worker.db-wal"), &info) == 0);
	shared_files->log_size = info.st_size;
	fd = open(path_of("worker.db"), O_RDONLY);
	MUST(fd >= 0 && fstat(fd, &info) == 0);
	shared_files->database_size = info.st_size;
	while ((len = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < len; i++)
			sum = (sum ^ bytes[i]) * UINT64_C(1099511628211);
	shared_files->database_sum = sum;
}

static inline struct files files_now(void)
{
	in_child(look_at_files, NULL);
	return *shared_files;
}

static inline void assert_nothing_copied(struct files before)
{
	struct files now = files_now();

	assert_int_equal(now.copied, before.copied);
	assert_int_equal(now.salt, before.salt);
	assert_int_equal(now.database_size, before.database_size);
	assert_true(now.database_sum == before.database_sum);
	assert_true(now.log_size >= before.log_size);
}

static inline void add_event(struct database *database, int bytes)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO events (kind, topic, payload, created_ms) "
		 "VALUES (0, 't', hex(zeroblob(%d)), %lld)",
		 bytes / 2, (long long)clock_wall_ms());
	assert_int_equal(database_write_begin(database, clock_monotonic_ms() + 20000), DATABASE_OK);
	execute(database_handle(database), sql);
	database_write_end(database);
}

/* More than SQLite and we let a log grow to: a checkpoint is due. */
static inline void make_long_log(struct database *database)
{
	for (int i = 0; i < 11; i++)
		add_event(database, 512 * 1024);
	assert_true(database_wal_pages(database) > 1000);
}

#endif
