/*
 * Watches SQLite at work: its own file methods with two of them replaced, in every file that is
 * opened after watch_files().
 *
 * SQLite holds the log's WRITE lock through each write transaction and its CKPT lock through each
 * checkpoint, whatever our code thinks that it does: both are counted here as they are taken, in
 * memory shared with children. Writes can be made to fail as they do on a full disk, and to be the
 * last that a process does.
 */
#ifndef TESTS_UNIT_WATCHED_FILES_H
#define TESTS_UNIT_WATCHED_FILES_H

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/database/database.h"

/* The locks of the log's index: offset and number, see walformat.html of SQLite. A recovery takes
 * CKPT together with others, and is no checkpoint. */
enum { WAL_WRITE_LOCK = 0, WAL_CKPT_LOCK = 1 };

static struct watch {
	atomic_int writing, checkpointing; /* how many at this moment */
	atomic_int transactions, checkpoints; /* so far */
	atomic_int overlaps; /* of one with the other */
	atomic_int disk_is_full; /* files other than worker.db cannot grow */
	atomic_int writes_to_live; /* then SIGKILL; 0: no limit */
	atomic_int no_shared_memory; /* a file system that has none */
} * watch;

static sqlite3_vfs watched_vfs;
static sqlite3_vfs *real_vfs;
static const sqlite3_io_methods *real_main, *real_other;
static sqlite3_io_methods watched_main, watched_other;

static inline int watched_lock(sqlite3_file *file, int offset, int number, int flags)
{
	bool is_checkpoint = offset == WAL_CKPT_LOCK;
	atomic_int *one = is_checkpoint ? &watch->checkpointing : &watch->writing;
	atomic_int *other = is_checkpoint ? &watch->writing : &watch->checkpointing;
	int result;

	if (offset > WAL_CKPT_LOCK || number != 1 || !(flags & SQLITE_SHM_EXCLUSIVE))
		return real_main->xShmLock(file, offset, number, flags);
	if (flags & SQLITE_SHM_UNLOCK) {
		atomic_fetch_sub(one, 1);
		return real_main->xShmLock(file, offset, number, flags);
	}
	result = real_main->xShmLock(file, offset, number, flags);
	if (result == SQLITE_OK) {
		atomic_fetch_add(one, 1);
		atomic_fetch_add(is_checkpoint ? &watch->checkpoints : &watch->transactions, 1);
		if (atomic_load(other) > 0)
			atomic_fetch_add(&watch->overlaps, 1);
	}
	return result;
}

/* The last write that a process lives for is cut short. */
static inline int count_write(int len)
{
	if (atomic_load(&watch->writes_to_live) == 0)
		return len;
	return atomic_fetch_sub(&watch->writes_to_live, 1) > 1 ? len : len / 2;
}

static inline int finish_write(int result, bool was_last)
{
	if (was_last)
		kill(getpid(), SIGKILL);
	return result;
}

static inline int watched_main_write(sqlite3_file *file, const void *bytes, int len,
				     sqlite3_int64 at)
{
	int counted = count_write(len);

	return finish_write(real_main->xWrite(file, bytes, counted, at), counted < len);
}

static inline int watched_other_write(sqlite3_file *file, const void *bytes, int len,
				      sqlite3_int64 at)
{
	sqlite3_int64 size = 0;
	int counted = count_write(len);

	if (atomic_load(&watch->disk_is_full) &&
	    (real_other->xFileSize(file, &size) != SQLITE_OK || at + len > size))
		return SQLITE_FULL;
	return finish_write(real_other->xWrite(file, bytes, counted, at), counted < len);
}

static inline int watched_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			       int *out_flags)
{
	int result = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);

	(void)vfs;
	if (result == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB)) {
		real_main = file->pMethods;
		watched_main = *real_main;
		watched_main.xShmLock = watched_lock;
		watched_main.xWrite = watched_main_write;
		if (watch->no_shared_memory)
			watched_main.iVersion = 1;
		file->pMethods = &watched_main;
	} else if (result == SQLITE_OK) {
		real_other = file->pMethods;
		watched_other = *real_other;
		watched_other.xWrite = watched_other_write;
		file->pMethods = &watched_other;
	}
	return result;
}

/* For the whole program, children included. */
static inline bool watch_files(void)
{
	watch = mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	real_vfs = sqlite3_vfs_find(NULL);
	if (watch == MAP_FAILED || !real_vfs)
		return false;
	watched_vfs = *real_vfs;
	watched_vfs.zName = "watched";
	watched_vfs.pNext = NULL;
	watched_vfs.xOpen = watched_open;
	return sqlite3_vfs_register(&watched_vfs, 1) == SQLITE_OK;
}

#endif
