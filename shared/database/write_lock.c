/*
 * The lock file, see write_lock.h. State: a timer, while it waits.
 *
 * flock(2) has no timeout. A waiter therefore sets a timer, whose signal interrupts the call in
 * this thread; it repeats, because a signal that comes just before the call would otherwise be
 * lost. A free lock takes none of this.
 */
#include "shared/database/write_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/clock.h"

#ifndef sigev_notify_thread_id /* glibc before 2.35 */
#define sigev_notify_thread_id _sigev_un._tid
#endif

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

bool write_lock_take(int lock, int64_t deadline_ms)
{
	bool taken = write_lock_try(lock);
	int64_t left_ms = deadline_ms - clock_monotonic_ms();
	/* No SA_RESTART: it is meant to interrupt. */
	const struct sigaction action = {.sa_handler = interrupt_only};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	const struct itimerspec when = {
		.it_value = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000},
		.it_interval = {.tv_nsec = REPEAT_MS * 1000000},
	};
	sigset_t alarm_only;
	timer_t timer;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (taken || left_ms <= 0)
		return taken;
	/* Whoever started us may have blocked the signal, and a blocked one does not end a wait. */
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
		return false; /* the user has too many */
	timer_settime(timer, 0, &when, NULL);
	do
		taken = flock(lock, LOCK_EX) == 0;
	while (!taken && errno == EINTR && clock_monotonic_ms() < deadline_ms);
	timer_delete(timer);
	return taken;
}

void write_lock_release(int lock)
{
	flock(lock, LOCK_UN);
}
