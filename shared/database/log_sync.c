/*
 * Syncing the write-ahead log for several processes, see log_sync.h. State: the lock, and the page
 * of counts. Blocks on the disk, and on whoever is syncing.
 *
 * Why a sync after the commit is enough: frames are in the log before the commit ends, and a sync
 * of the file covers all of them, whoever wrote them. SQLite starts the log again only when all of
 * it has been copied into the database file and that file has been synced, so a commit that is no
 * longer in the log is on the disk already. A process that is killed while it syncs leaves the
 * counts as they were. They outlive the machine without harm: after a start they only go on rising.
 */
#include "shared/database/log_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/database/write_lock.h"

enum {
	PAGE_SIZE = 4096,
	LOOK_AGAIN_MS = 20, /* one that is killed while syncing wakes nobody */
	GATHER_STEP_US = 20,
	SLOW_US = 1000, /* a sync; while a faster one runs hardly anybody comes back */
	CHUNK_SIZE = 65536
};

struct counts {
	_Atomic uint64_t committed; /* how many have come to wait */
	_Atomic uint64_t synced; /* so many of them, from the first on, are on the disk */
	_Atomic uint32_t ended; /* syncs; waiters sleep until one concerns them */
	/* For whoever holds the lock. */
	uint64_t expected; /* how many shared the last sync or came while it ran */
	int64_t took_us; /* the last one */
};

struct log_sync {
	int lock; /* see write_lock.h; held by whoever syncs */
	struct counts *counts;
	uint64_t until; /* what our sync covers */
	int64_t began_us;
};

struct log_sync *log_sync_open(const char *path)
{
	struct log_sync *sync = NULL;
	void *page = MAP_FAILED;
	int lock = write_lock_open(path);

	/* Allocated now, because otherwise a full disk would end the program at the first count. */
	if (lock >= 0 && (errno = posix_fallocate(lock, 0, PAGE_SIZE)) == 0)
		page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, lock, 0);
	if (page != MAP_FAILED) {
		sync = xcalloc(1, sizeof(*sync));
		sync->lock = lock;
		sync->counts = page;
	} else if (lock >= 0) {
		close(lock);
	}
	return sync;
}

void log_sync_close(struct log_sync *sync)
{
	if (!sync)
		return;
	munmap(sync->counts, PAGE_SIZE);
	close(sync->lock);
	free(sync);
}

/* Those that shared the last sync have their answer by now and may be about to commit again:
 * without a little patience there would be two groups, each waiting for a slow disk twice. A
 * process that is alone waits for nobody. */
static void gather(struct log_sync *sync)
{
	struct counts *counts = sync->counts;
	int64_t patience_us = counts->took_us >= SLOW_US ? counts->took_us / 2 : 0;
	int64_t give_up_us = clock_monotonic_us() + patience_us;

	while (atomic_load(&counts->committed) - atomic_load(&counts->synced) < counts->expected &&
	       clock_monotonic_us() < give_up_us)
		usleep(GATHER_STEP_US);
	sync->until = atomic_load(&counts->committed);
	sync->began_us = clock_monotonic_us();
}

/* By which those that wait are told apart when they are woken. */
static uint32_t bit_of(uint64_t number)
{
	enum { BITS = 32 };

	return UINT32_C(1) << number % BITS;
}

static void sleep_until(struct counts *counts, uint32_t ended, uint64_t ours, int64_t until_ms)
{
	const struct timespec until = {
		.tv_sec = until_ms / 1000,
		.tv_nsec = until_ms % 1000 * 1000000,
	};

	syscall(SYS_futex, &counts->ended, FUTEX_WAIT_BITSET, ended, &until, NULL, bit_of(ours));
}

enum log_sync_turn log_sync_begin(struct log_sync *sync, int64_t deadline_ms)
{
	struct counts *counts = sync->counts;
	uint64_t ours = atomic_fetch_add(&counts->committed, 1) + 1;

	for (;;) {
		uint32_t ended = atomic_load(&counts->ended);

		if (atomic_load(&counts->synced) >= ours)
			return LOG_SYNC_COVERED;
		bool is_free = write_lock_try(sync->lock);

		if (atomic_load(&counts->synced) >= ours) {
			if (is_free)
				write_lock_release(sync->lock);
			return LOG_SYNC_COVERED;
		}
		if (is_free) {
			gather(sync);
			return LOG_SYNC_OURS;
		}
		int64_t now_ms = clock_monotonic_ms();
		if (now_ms >= deadline_ms)
			return LOG_SYNC_LATE;
		sleep_until(counts, ended, ours,
			    deadline_ms - now_ms < LOOK_AGAIN_MS ? deadline_ms
								 : now_ms + LOOK_AGAIN_MS);
	}
}

void log_sync_end(struct log_sync *sync, bool good)
{
	struct counts *counts = sync->counts;
	uint32_t bits = 0;

	/* Of those that it covers, and of the next one, who syncs for the others. */
	for (uint64_t i = atomic_load(&counts->synced); i <= sync->until && bits != UINT32_MAX; i++)
		bits |= bit_of(i + 1);
	counts->took_us = clock_monotonic_us() - sync->began_us;
	counts->expected = atomic_load(&counts->committed) - atomic_load(&counts->synced);
	if (good)
		atomic_store(&counts->synced, sync->until);
	/* In this order: one that wakes up must find the lock free. */
	write_lock_release(sync->lock);
	atomic_fetch_add(&counts->ended, 1);
	syscall(SYS_futex, &counts->ended, FUTEX_WAKE_BITSET, INT32_MAX, NULL, NULL, bits);
}

static sqlite3_file *log_of(sqlite3 *handle)
{
	sqlite3_file *file = NULL;

	sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
	return file && file->pMethods ? file : NULL;
}

int log_sync_rewrite(sqlite3 *handle)
{
	char *chunk = xcalloc(1, CHUNK_SIZE);
	sqlite3_file *file = log_of(handle);
	sqlite3_int64 size = 0;
	int result = file ? file->pMethods->xFileSize(file, &size) : SQLITE_IOERR;

	for (sqlite3_int64 at = 0; at < size && result == SQLITE_OK; at += CHUNK_SIZE) {
		int len = size - at < CHUNK_SIZE ? (int)(size - at) : CHUNK_SIZE;

		result = file->pMethods->xRead(file, chunk, len, at);
		if (result == SQLITE_OK)
			result = file->pMethods->xWrite(file, chunk, len, at);
	}
	free(chunk);
	return result;
}

/* By SQLite's own file, which also syncs the directory when the log is new in it. */
int log_sync_now(sqlite3 *handle)
{
	sqlite3_file *file = log_of(handle);

	return file ? file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) : SQLITE_IOERR;
}
