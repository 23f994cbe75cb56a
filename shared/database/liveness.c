/*
 * Which gateways are alive, see liveness.h. State: a descriptor, and what it is locked for. Never
 * blocks.
 *
 * Process `pid` has the bytes from pid << PLACE_BITS on to itself, none of which is ever written: a
 * lock needs no byte in the file. A gateway locks one of the first half, whose number is the time
 * of its last heartbeat; a process of the API locks the first one of the second half.
 */
#include "shared/database/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/held_file.h"
#include "shared/base/state_dir.h"

#define LOCK_NAME "gateway.lock"

enum { PLACE_BITS = 31, API_BYTE = 1 << (PLACE_BITS - 1), TICK_MS = 100 };

struct liveness {
	int fd;
	struct held_file file;
	int64_t claimed_pid; /* the lock that is ours: the kernel does not report it to us */
	off_t beat; /* where it is */
	int64_t api_pid; /* likewise; 0: none */
	int64_t signed_pid; /* what we have written down; 0: nothing */
};

/* People can edit the rows that name a gateway: a number that is not a pid has no place. */
static bool is_pid(int64_t pid)
{
	return pid > 0 && pid <= INT32_MAX;
}

static off_t place_of(int64_t pid)
{
	return (off_t)(pid << PLACE_BITS);
}

/* The same numbers come again after three years. */
static off_t tick_now(void)
{
	return (off_t)(clock_monotonic_ms() / TICK_MS % API_BYTE);
}

/* Linux before 3.15 does not know locks that belong to a descriptor: one that belongs to the
 * process will do, as each has the file open once. */
static bool ask_lock(int fd, int command, int old_command, struct flock *lock)
{
	return fcntl(fd, command, lock) == 0 ||
	       (errno == EINVAL && fcntl(fd, old_command, lock) == 0);
}

/* Locks that byte, or unlocks it (F_UNLCK). */
static bool claim(int fd, off_t start, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};

	return ask_lock(fd, F_OFD_SETLK, F_SETLK, &lock);
}

/* Somebody else's lock in that range; its type is F_UNLCK when there is none. */
static struct flock find_lock(int fd, off_t start, off_t end)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = end - start};

	if (!ask_lock(fd, F_OFD_GETLK, F_GETLK, &lock))
		lock.l_type = F_UNLCK;
	return lock;
}

static int open_file(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

struct liveness *liveness_open(const char *state_dir)
{
	struct liveness *liveness = NULL;
	char path[STATE_DIR_PATH_SIZE];
	int fd = state_dir_file(state_dir, LOCK_NAME, path) ? open_file(path) : -1;

	if (fd >= 0) {
		liveness = xcalloc(1, sizeof(*liveness));
		liveness->fd = fd;
		held_file_take_open(&liveness->file, fd, path, LOCK_NAME, 0600);
	}
	return liveness;
}

void liveness_close(struct liveness *liveness)
{
	if (!liveness)
		return;
	close(liveness->fd);
	held_file_release(&liveness->file);
	free(liveness);
}

int liveness_claim_service(const char *state_dir, int held_fd)
{
	int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat held, here;

	if (fd < 0)
		return held_fd;
	if (held_fd >= 0 && fstat(held_fd, &held) == 0 && fstat(fd, &here) == 0 &&
	    held.st_ino == here.st_ino && held.st_dev == here.st_dev) {
		close(fd);
		return held_fd;
	}
	if (held_fd >= 0)
		close(held_fd);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	errno = EAGAIN;
	return -1;
}

void liveness_sign(struct liveness *liveness, int64_t pid)
{
	liveness->signed_pid = pid;
	if (pwrite(liveness->fd, &pid, sizeof(pid), 0) < 0)
		return; /* a full disk; it is for people */
}

int64_t liveness_server(const struct liveness *liveness)
{
	int64_t pid = 0;

	return pread(liveness->fd, &pid, sizeof(pid), 0) == sizeof(pid) && is_pid(pid) ? pid : 0;
}

bool liveness_claim_pid(struct liveness *liveness, int64_t pid)
{
	if (!is_pid(pid) || liveness_exists(liveness, pid))
		return false;
	liveness->beat = place_of(pid) + tick_now();
	if (!claim(liveness->fd, liveness->beat, F_WRLCK))
		return false;
	liveness->claimed_pid = pid;
	return true;
}

/* The new lock first, so that there is always one. */
void liveness_beat(struct liveness *liveness)
{
	off_t beat = place_of(liveness->claimed_pid) + tick_now();

	if (beat == liveness->beat || !claim(liveness->fd, beat, F_WRLCK))
		return;
	claim(liveness->fd, liveness->beat, F_UNLCK);
	liveness->beat = beat;
}

/* The lock of that gateway, if it is not ours. */
static struct flock find_gateway(const struct liveness *liveness, int64_t pid)
{
	return find_lock(liveness->fd, place_of(pid), place_of(pid) + API_BYTE);
}

bool liveness_exists(const struct liveness *liveness, int64_t pid)
{
	return is_pid(pid) &&
	       (pid == liveness->claimed_pid || find_gateway(liveness, pid).l_type != F_UNLCK);
}

bool liveness_check(const struct liveness *liveness, int64_t pid)
{
	struct flock lock;

	if (!is_pid(pid) || pid == liveness->claimed_pid)
		return is_pid(pid);
	lock = find_gateway(liveness, pid);
	off_t age = tick_now() + API_BYTE - (lock.l_start - place_of(pid));
	return lock.l_type != F_UNLCK && age % API_BYTE < LIVENESS_LIMIT_MS / TICK_MS;
}

bool liveness_is_ours(const struct liveness *liveness, int64_t pid)
{
	return is_pid(pid) &&
	       (pid == liveness->claimed_pid || pid == liveness->api_pid ||
		find_lock(liveness->fd, place_of(pid), place_of(pid + 1)).l_type != F_UNLCK);
}

void liveness_claim_api(struct liveness *liveness, int64_t pid)
{
	bool is_claimed = is_pid(pid) && claim(liveness->fd, place_of(pid) + API_BYTE, F_WRLCK);

	liveness->api_pid = is_claimed ? pid : 0;
}

bool liveness_look_after(struct liveness *liveness)
{
	struct held_file *file = &liveness->file;
	enum held_file_state state = held_file_look(file);
	int fd;

	held_file_note(file, state);
	if (state == HELD_FILE_IN_PLACE || (fd = open_file(file->path)) < 0)
		return false;
	dup3(fd, liveness->fd, O_CLOEXEC);
	close(fd);
	held_file_take_open(file, liveness->fd, file->path, LOCK_NAME, 0600);
	if (liveness->claimed_pid > 0)
		claim(liveness->fd, liveness->beat, F_WRLCK);
	if (liveness->api_pid > 0)
		liveness_claim_api(liveness, liveness->api_pid);
	if (liveness->signed_pid > 0)
		liveness_sign(liveness, liveness->signed_pid);
	held_file_note(file, held_file_look(file));
	return true;
}

/* The kernel names one lock of a range, and not the first: so the parts before and after it are
 * asked about again. */
static int64_t count_api_locks(int fd, off_t start, off_t end)
{
	int64_t count = 0;

	while (start < end) {
		struct flock lock = find_lock(fd, start, end);

		if (lock.l_type == F_UNLCK || lock.l_len <= 0)
			break;
		count += lock.l_start % place_of(1) == API_BYTE;
		count += count_api_locks(fd, start, lock.l_start);
		start = lock.l_start + lock.l_len;
	}
	return count;
}

int64_t liveness_count_api(const struct liveness *liveness)
{
	return count_api_locks(liveness->fd, place_of(1), place_of((int64_t)INT32_MAX + 1)) +
	       (liveness->api_pid > 0);
}
