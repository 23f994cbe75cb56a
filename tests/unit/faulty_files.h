/*
 * Makes SQLite's calls fail: a file system whose n-th call of a kind is an error, and memory whose
 * n-th allocation is none. A fault either passes (one call fails) or lasts (all that follow fail
 * too) until faults_off().
 *
 * Only what takes a lock can fail, not what gives one back: no local file system refuses that, and
 * SQLite would hold the lock until the process ends.
 */
#ifndef TESTS_UNIT_FAULTY_FILES_H
#define TESTS_UNIT_FAULTY_FILES_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>

enum fault_call {
	CALL_OPEN,
	CALL_DELETE,
	CALL_ACCESS,
	CALL_FULL_PATH,
	CALL_READ,
	CALL_WRITE,
	CALL_TRUNCATE,
	CALL_SYNC,
	CALL_FILE_SIZE,
	CALL_LOCK,
	CALL_SHM_MAP,
	CALL_SHM_LOCK,
	CALL_MALLOC
};

#define REACHES(call) (1U << (call))

struct fault {
	const char *name;
	enum fault_call call;
	int result; /* of the call */
};

static const struct fault faults[] = {
	{"xOpen", CALL_OPEN, SQLITE_CANTOPEN},
	{"xDelete", CALL_DELETE, SQLITE_IOERR_DELETE},
	{"xAccess", CALL_ACCESS, SQLITE_IOERR_ACCESS},
	{"xFullPathname", CALL_FULL_PATH, SQLITE_CANTOPEN_FULLPATH},
	{"xRead", CALL_READ, SQLITE_IOERR_READ},
	{"xWrite", CALL_WRITE, SQLITE_IOERR_WRITE},
	{"xWrite, disk full", CALL_WRITE, SQLITE_FULL},
	{"xTruncate", CALL_TRUNCATE, SQLITE_IOERR_TRUNCATE},
	{"xSync", CALL_SYNC, SQLITE_IOERR_FSYNC},
	{"xFileSize", CALL_FILE_SIZE, SQLITE_IOERR_FSTAT},
	{"xLock", CALL_LOCK, SQLITE_IOERR_LOCK},
	{"xShmMap", CALL_SHM_MAP, SQLITE_IOERR_SHMMAP},
	{"xShmMap, disk full", CALL_SHM_MAP, SQLITE_IOERR_SHMSIZE},
	{"xShmLock", CALL_SHM_LOCK, SQLITE_IOERR_SHMLOCK},
	{"memory", CALL_MALLOC, SQLITE_NOMEM},
};

enum { FAULTS = sizeof(faults) / sizeof(faults[0]) };

/* Which call fails next, when `to_pass` went before the last one. Where the schema is read there
 * are thousands of allocations: beyond the first EACH_OF only some of them fail, others in each
 * run, or all with $FAULTS_ALL. */
enum { EACH_OF = 100, GROWTH = 10, MOST_CALLS = 20000 };

static inline int next_call(int to_pass)
{
	return to_pass < EACH_OF || getenv("FAULTS_ALL")
		       ? to_pass + 1
		       : to_pass + 1 + (int)arc4random_uniform((unsigned)to_pass / GROWTH);
}

static struct {
	const struct fault *fault; /* NULL: none now */
	int to_pass; /* before the first that fails */
	bool lasts;
	int failed; /* so far */
} plan;

/* From here on the call after `to_pass` others of its kind fails. */
static inline void faults_on(const struct fault *fault, int to_pass, bool lasts)
{
	plan.fault = fault;
	plan.to_pass = to_pass;
	plan.lasts = lasts;
	plan.failed = 0;
}

/* Returns how many calls have failed. */
static inline int faults_off(void)
{
	plan.fault = NULL;
	return plan.failed;
}

static inline bool fails(enum fault_call call)
{
	if (!plan.fault || plan.fault->call != call || plan.to_pass-- > 0 ||
	    (plan.failed > 0 && !plan.lasts))
		return false;
	plan.failed++;
	return true;
}

/* The methods of a file: `faulty` comes first, so that a file leads to both. */
struct file_methods {
	sqlite3_io_methods faulty;
	const sqlite3_io_methods *real;
};

static struct file_methods main_methods, other_methods; /* the database; its log and the rest */
static sqlite3_vfs faulty_vfs, *real_vfs;
static sqlite3_mem_methods real_memory;

static inline const sqlite3_io_methods *real_of(sqlite3_file *file)
{
	return ((const struct file_methods *)(const void *)file->pMethods)->real;
}

static inline int faulty_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at)
{
	return fails(CALL_READ) ? plan.fault->result : real_of(file)->xRead(file, bytes, len, at);
}

/* Half of it is written. */
static inline int faulty_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	if (!fails(CALL_WRITE))
		return real_of(file)->xWrite(file, bytes, len, at);
	real_of(file)->xWrite(file, bytes, len / 2, at);
	return plan.fault->result;
}

static inline int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return fails(CALL_TRUNCATE) ? plan.fault->result : real_of(file)->xTruncate(file, size);
}

/* Nothing in a test survives the machine: no disk is waited for. */
static inline int faulty_sync(sqlite3_file *file, int flags)
{
	(void)file;
	(void)flags;
	return fails(CALL_SYNC) ? plan.fault->result : SQLITE_OK;
}

static inline int faulty_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return fails(CALL_FILE_SIZE) ? plan.fault->result : real_of(file)->xFileSize(file, size);
}

static inline int faulty_lock(sqlite3_file *file, int level)
{
	return fails(CALL_LOCK) ? plan.fault->result : real_of(file)->xLock(file, level);
}

static inline int faulty_shm_map(sqlite3_file *file, int page, int size, int extend,
				 void volatile **memory)
{
	if (!fails(CALL_SHM_MAP))
		return real_of(file)->xShmMap(file, page, size, extend, memory);
	*memory = NULL;
	return plan.fault->result;
}

static inline int faulty_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	if ((flags & SQLITE_SHM_LOCK) && fails(CALL_SHM_LOCK))
		return plan.fault->result;
	return real_of(file)->xShmLock(file, offset, count, flags);
}

static inline void put_faults_into(sqlite3_file *file, struct file_methods *methods)
{
	methods->real = file->pMethods;
	methods->faulty = *file->pMethods;
	methods->faulty.xRead = faulty_read;
	methods->faulty.xWrite = faulty_write;
	methods->faulty.xTruncate = faulty_truncate;
	methods->faulty.xSync = faulty_sync;
	methods->faulty.xFileSize = faulty_file_size;
	methods->faulty.xLock = faulty_lock;
	methods->faulty.xShmMap = faulty_shm_map;
	methods->faulty.xShmLock = faulty_shm_lock;
	file->pMethods = &methods->faulty;
}

static inline int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
			      int *out_flags)
{
	int result;

	(void)vfs;
	file->pMethods = NULL; /* nothing to close */
	if (fails(CALL_OPEN))
		return plan.fault->result;
	result = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
	if (result == SQLITE_OK)
		put_faults_into(file, flags & SQLITE_OPEN_MAIN_DB ? &main_methods : &other_methods);
	return result;
}

static inline int faulty_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	return fails(CALL_DELETE) ? plan.fault->result
				  : real_vfs->xDelete(real_vfs, name, sync_dir);
}

static inline int faulty_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
	(void)vfs;
	return fails(CALL_ACCESS) ? plan.fault->result
				  : real_vfs->xAccess(real_vfs, name, flags, result);
}

static inline int faulty_full_path(sqlite3_vfs *vfs, const char *name, int size, char *path)
{
	(void)vfs;
	return fails(CALL_FULL_PATH) ? plan.fault->result
				     : real_vfs->xFullPathname(real_vfs, name, size, path);
}

static inline void *faulty_malloc(int size)
{
	return fails(CALL_MALLOC) ? NULL : real_memory.xMalloc(size);
}

static inline void *faulty_realloc(void *old, int size)
{
	return fails(CALL_MALLOC) ? NULL : real_memory.xRealloc(old, size);
}

/* First of all in a program. No pools of SQLite's own: each allocation is one that can fail. */
static inline bool faults_prepare(void)
{
	sqlite3_mem_methods memory;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
		return false;
	memory = real_memory;
	memory.xMalloc = faulty_malloc;
	memory.xRealloc = faulty_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0) != SQLITE_OK)
		return false;
	real_vfs = sqlite3_vfs_find(NULL);
	if (!real_vfs)
		return false;
	faulty_vfs = *real_vfs;
	faulty_vfs.zName = "faulty";
	faulty_vfs.pNext = NULL;
	faulty_vfs.xOpen = faulty_open;
	faulty_vfs.xDelete = faulty_delete;
	faulty_vfs.xAccess = faulty_access;
	faulty_vfs.xFullPathname = faulty_full_path;
	return sqlite3_vfs_register(&faulty_vfs, 1) == SQLITE_OK;
}

#endif
