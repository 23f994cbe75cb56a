/*
 * The lock file, see write_lock.h. State: the process's alarm, while it waits.
 *
 * flock(2) has no timeout. A waiter therefore sets an alarm, whose signal interrupts the call; it
 * repeats, because a signal that comes just before the call would otherwise be lost. A free lock
 * takes none of this.
 */
#include "shared/database/write_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>

#include "shared/base/clock.h"

enum { REPEAT_MS = 5 };

int write_lock_open(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

bool write_lock_try(int lock)
{
	return flock(lock, LOCK_EX | LOCK_NB) == 0;
}

static void interrupt_only(int signal_number)
{
	(void)signal_number;
}

/* 0: none. */
static void set_alarm(int64_t in_ms)
{
	const struct itimerval when = {
		.it_value = {.tv_sec = in_ms / 1000, .tv_usec = (in_ms % 1000) * 1000},
		.it_interval = {.tv_usec = REPEAT_MS * 1000},
	};

	setitimer(ITIMER_REAL, &when, NULL);
}

bool write_lock_take(int lock, int64_t deadline_ms)
{
	bool taken = write_lock_try(lock);
	int64_t left_ms = deadline_ms - clock_monotonic_ms();
	/* No SA_RESTART: it is meant to interrupt. */
	const struct sigaction action = {.sa_handler = interrupt_only};
	sigset_t alarm_only;

	if (taken || left_ms <= 0)
		return taken;
	/* Whoever started us may have blocked the signal, and a blocked one does not end a wait. */
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
	set_alarm(left_ms);
	do
		taken = flock(lock, LOCK_EX) == 0;
	while (!taken && errno == EINTR && clock_monotonic_ms() < deadline_ms);
	set_alarm(0);
	return taken;
}

void write_lock_release(int lock)
{
	flock(lock, LOCK_UN);
}
