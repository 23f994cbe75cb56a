/*
 * Which gateways are alive, see liveness.h. State: a descriptor. Never blocks.
 *
 * Gateway `pid` owns the eight bytes at 8 * pid: it holds a lock on the first of them and keeps its
 * last heartbeat in all eight. A process of the API holds a lock on the second of its own. The file
 * is sparse; its size says nothing.
 */
#include "shared/database/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"

struct liveness {
	int fd;
	int64_t claimed_pid; /* the lock that is ours: the kernel does not report it to us */
	bool is_api; /* likewise */
};

/* People can edit the rows that name a gateway: a number that is not a pid has no place. */
static bool is_pid(int64_t pid)
{
	return pid > 0 && pid <= INT32_MAX;
}

static off_t place_of(int64_t pid)
{
	return (off_t)(pid * (int64_t)sizeof(int64_t));
}

static bool claim(int fd, off_t start)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* A lock of somebody else in that range; its type is F_UNLCK when there is none. */
static struct flock find_lock(int fd, off_t start, off_t end)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = end - start};

	if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
		lock.l_type = F_UNLCK;
	return lock;
}

static int open_file(const char *state_dir)
{
	char path[STATE_DIR_PATH_SIZE];

	if (!state_dir_file(state_dir, "gateway.lock", path))
		return -1;
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

struct liveness *liveness_open(const char *state_dir)
{
	struct liveness *liveness = NULL;
	int fd = open_file(state_dir);

	if (fd >= 0) {
		liveness = xcalloc(1, sizeof(*liveness));
		liveness->fd = fd;
	}
	return liveness;
}

void liveness_close(struct liveness *liveness)
{
	if (liveness)
		close(liveness->fd);
	free(liveness);
}

/* On a full disk only the first write to a place can fail; then the locks alone tell. */
static void write_number(const struct liveness *liveness, int64_t pid, int64_t number)
{
	if (pwrite(liveness->fd, &number, sizeof(number), place_of(pid)) < 0)
		return;
}

int liveness_claim_service(const struct liveness *liveness, const char *state_dir, int inherited_fd)
{
	struct stat inherited, here;

	if (inherited_fd >= 0 && fstat(inherited_fd, &inherited) == 0 &&
	    fstat(liveness->fd, &here) == 0 && inherited.st_ino == here.st_ino &&
	    inherited.st_dev == here.st_dev)
		return inherited_fd;
	if (inherited_fd >= 0)
		close(inherited_fd);

	int fd = open_file(state_dir);
	if (fd < 0 || claim(fd, 0))
		return fd;
	close(fd);
	errno = EAGAIN;
	return -1;
}

void liveness_sign(struct liveness *liveness, int64_t pid)
{
	write_number(liveness, 0, pid);
}

int64_t liveness_server(const struct liveness *liveness)
{
	int64_t pid = 0;

	return pread(liveness->fd, &pid, sizeof(pid), 0) == sizeof(pid) && is_pid(pid) ? pid : 0;
}

bool liveness_claim_pid(struct liveness *liveness, int64_t pid)
{
	liveness_beat(liveness, pid);
	if (!claim(liveness->fd, place_of(pid)))
		return false;
	liveness->claimed_pid = pid;
	return true;
}

void liveness_beat(struct liveness *liveness, int64_t pid)
{
	write_number(liveness, pid, clock_monotonic_ms());
}

bool liveness_exists(const struct liveness *liveness, int64_t pid)
{
	return is_pid(pid) &&
	       (pid == liveness->claimed_pid ||
		find_lock(liveness->fd, place_of(pid), place_of(pid) + 1).l_type != F_UNLCK);
}

bool liveness_check(const struct liveness *liveness, int64_t pid)
{
	int64_t beat_ms = 0;

	if (!liveness_exists(liveness, pid))
		return false;
	if (pread(liveness->fd, &beat_ms, sizeof(beat_ms), place_of(pid)) != sizeof(beat_ms))
		return true;
	return clock_monotonic_ms() - beat_ms < LIVENESS_LIMIT_MS;
}

enum { API_BYTE = 1 };

void liveness_claim_api(struct liveness *liveness, int64_t pid)
{
	liveness->is_api = is_pid(pid) && claim(liveness->fd, place_of(pid) + API_BYTE);
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
	       liveness->is_api;
}
