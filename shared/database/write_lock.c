/*
 * The lock file, see write_lock.h. State: one descriptor, and for waiters a POSIX timer that sends
 * SIGALRM.
 *
 * flock(2) has no timeout. A waiter therefore arms a timer whose signal interrupts the call; it
 * repeats, because a signal that comes just before the call would otherwise be lost. A free lock
 * takes none of this.
 */
#include "shared/database/write_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum { REPEAT_MS = 5 };

struct write_lock {
	int fd;
	bool has_timer;
	timer_t timer;
};

struct write_lock *write_lock_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return NULL;

	struct write_lock *lock = xcalloc(1, sizeof(*lock));
	lock->fd = fd;
	return lock;
}

void write_lock_close(struct write_lock *lock)
{
	if (!lock)
		return;
	if (lock->has_timer)
		timer_delete(lock->timer);
	close(lock->fd);
	free(lock);
}

bool write_lock_try(struct write_lock *lock)
{
	int result;

	do
		result = flock(lock->fd, LOCK_EX | LOCK_NB);
	while (result != 0 && errno == EINTR);
	return result == 0;
}

static void interrupt_only(int signal_number)
{
	(void)signal_number;
}

static bool make_timer(struct write_lock *lock)
{
	struct sigaction action = {
		.sa_handler = interrupt_only}; /* no SA_RESTART: it is meant to interrupt */
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	sigset_t alarm_only;

	/* Whoever started us may have blocked it, and a blocked signal does not end a wait. */
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	if (!lock->has_timer)
		lock->has_timer = sigaction(SIGALRM, &action, NULL) == 0 &&
				  sigprocmask(SIG_UNBLOCK, &alarm_only, NULL) == 0 &&
				  timer_create(CLOCK_MONOTONIC, &event, &lock->timer) == 0;
	return lock->has_timer;
}

/* 0: stops it. */
static void set_timer(struct write_lock *lock, int64_t in_ms)
{
	struct itimerspec when = {
		.it_value = {.tv_sec = in_ms / 1000, .tv_nsec = (in_ms % 1000) * 1000000},
		.it_interval = {.tv_nsec = REPEAT_MS * 1000000},
	};

	timer_settime(lock->timer, 0, &when, NULL);
}

bool write_lock_take(struct write_lock *lock, int64_t deadline_ms)
{
	bool taken = write_lock_try(lock);
	int64_t left_ms = deadline_ms - clock_monotonic_ms();

	if (taken || left_ms <= 0 || !make_timer(lock))
		return taken;

	set_timer(lock, left_ms);
	do
		taken = flock(lock->fd, LOCK_EX) == 0;
	while (!taken && errno == EINTR && clock_monotonic_ms() < deadline_ms);
	set_timer(lock, 0);
	return taken;
}

void write_lock_release(struct write_lock *lock)
{
	flock(lock->fd, LOCK_UN);
}
