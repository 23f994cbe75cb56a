/*
 * Which gateways are alive, see liveness.h. State: a descriptor, and a second one for the right to
 * serve, which alone is handed to a successor. Never blocks.
 *
 * Gateway `pid` owns the eight bytes at 8 * pid: it holds a lock on the first of them and keeps its
 * last heartbeat in all eight. A process of the API holds a lock on the second of its own. The file
 * is sparse; its size says nothing.
 */
#include "shared/database/liveness.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/state_dir.h"

struct liveness {
	int fd;
	int service_fd; /* holds the right to serve; -1: it does not */
	char *state_dir;
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

static struct flock whole_lock(off_t start)
{
	return (struct flock){
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
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
	int fd = open_file(state_dir);

	if (fd < 0)
		return NULL;

	struct liveness *liveness = xcalloc(1, sizeof(*liveness));
	liveness->fd = fd;
	liveness->service_fd = -1;
	liveness->state_dir = xstrdup(state_dir);
	return liveness;
}

void liveness_close(struct liveness *liveness)
{
	if (!liveness)
		return;
	close(liveness->fd);
	if (liveness->service_fd >= 0)
		close(liveness->service_fd);
	free(liveness->state_dir);
	free(liveness);
}

static bool claim(int fd, off_t start)
{
	struct flock lock = whole_lock(start);

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool liveness_claim_service(struct liveness *liveness)
{
	int fd = open_file(liveness->state_dir);

	if (fd >= 0 && claim(fd, 0)) {
		liveness->service_fd = fd;
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

int liveness_service_fd(const struct liveness *liveness)
{
	return liveness->service_fd;
}

bool liveness_inherit_service(struct liveness *liveness, int fd)
{
	struct stat inherited, here;

	if (fd < 0)
		return liveness_claim_service(liveness);
	if (fstat(fd, &inherited) == 0 && fstat(liveness->fd, &here) == 0 &&
	    inherited.st_ino == here.st_ino && inherited.st_dev == here.st_dev) {
		liveness->service_fd = fd;
		return true;
	}
	close(fd);
	return liveness_claim_service(liveness);
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
	int64_t now_ms = clock_monotonic_ms();

	/* On a full disk only the first of these can fail; then the lock alone tells. */
	if (pwrite(liveness->fd, &now_ms, sizeof(now_ms), place_of(pid)) < 0)
		return;
}

static bool is_locked(struct liveness *liveness, int64_t pid)
{
	struct flock lock = whole_lock(place_of(pid));

	if (pid == liveness->claimed_pid)
		return true;
	return fcntl(liveness->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool liveness_check(struct liveness *liveness, int64_t pid)
{
	int64_t beat_ms = 0;

	if (!is_pid(pid) || !is_locked(liveness, pid))
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
		struct flock lock = whole_lock(start);

		lock.l_len = end - start;
		if (fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK || lock.l_len <= 0)
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
