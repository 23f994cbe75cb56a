/*
 * Preloaded into a program, it makes each sync of a file take at least $SYNC_MS, as long as a disk
 * takes without a cache that outlives a power cut. What is to be on the disk is there all the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_IN_MS = 1000000, NS_IN_S = 1000000000 };

static int sync_slowly(long number, int fd)
{
	const char *sync_ms = getenv("SYNC_MS");
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	int result = (int)syscall(number, fd), why = errno;
	end.tv_nsec += (sync_ms ? strtol(sync_ms, NULL, 10) : 0) * NS_IN_MS;
	end.tv_sec += end.tv_nsec / NS_IN_S;
	end.tv_nsec %= NS_IN_S;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
	errno = why;
	return result;
}

int fsync(int fd)
{
	return sync_slowly(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_slowly(SYS_fdatasync, fd);
}
