/*
 * What processes have used, see usage.h. No state.
 *
 * The processor time is the sum of /proc/PID/task/TID/schedstat, which counts nanoseconds. Threads
 * that have ended are not in it: the servers that are measured here have none that end.
 * /proc/PID/stat has the same in ticks of 10 ms; the driver compares the two. The memory is that of
 * smaps_rollup, which is counted page by page: VmRSS is kept in batches for each core and may be
 * off by some hundred kilobytes.
 */
#include "tests/bench/usage.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/bench/fail.h"

enum { PATH_SIZE = 320, LINE_SIZE = 512 };

/* The first line that begins with `start`, or the first of all. */
static void read_line(const char *path, const char *start, char line[LINE_SIZE])
{
	FILE *file = fopen(path, "re");
	bool found = false;

	if (!file)
		fail_errno(path);
	while (!found && fgets(line, LINE_SIZE, file))
		found = strncmp(line, start, strlen(start)) == 0;
	fclose(file);
	if (!found)
		fail("%s holds no line with '%s'", path, start);
}

static int64_t thread_ns(const char *pid, const char *thread)
{
	char path[PATH_SIZE], line[LINE_SIZE];

	snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid, thread);
	read_line(path, "", line);
	return strtoll(line, NULL, 10);
}

static int64_t cpu_ns(const char *pid)
{
	char path[PATH_SIZE];
	int64_t sum = 0;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	DIR *threads = opendir(path);
	if (!threads)
		fail_errno(path);
	for (struct dirent *entry; (entry = readdir(threads));)
		if (isdigit((unsigned char)entry->d_name[0]))
			sum += thread_ns(pid, entry->d_name);
	closedir(threads);
	return sum;
}

/* utime and stime are the 14th and 15th word; the second is the program's name in parentheses. */
static int64_t ticks_ns(const char *pid)
{
	enum { UTIME = 14, STIME = 15, AFTER_NAME = 2 };
	char path[PATH_SIZE], line[LINE_SIZE];
	int64_t ticks = 0;
	int word = AFTER_NAME;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	read_line(path, "", line);
	for (const char *at = strrchr(line, ')'); at && word <= STIME; at = strchr(at + 1, ' ')) {
		if (word == UTIME || word == STIME)
			ticks += strtoll(at, NULL, 10);
		word++;
	}
	return ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

static int64_t rss_bytes(const char *pid)
{
	char path[PATH_SIZE], line[LINE_SIZE];

	snprintf(path, sizeof(path), "/proc/%s/smaps_rollup", pid);
	read_line(path, "Rss:", line);
	return strtoll(line + strlen("Rss:"), NULL, 10) * 1024;
}

struct usage usage_of(const char *pids)
{
	struct usage usage = {0};
	char copy[LINE_SIZE], *rest = NULL;

	if (snprintf(copy, sizeof(copy), "%s", pids) >= (int)sizeof(copy))
		fail("too many pids");
	for (char *pid = strtok_r(copy, ",", &rest); pid; pid = strtok_r(NULL, ",", &rest)) {
		usage.cpu_ns += cpu_ns(pid);
		usage.ticks_ns += ticks_ns(pid);
		usage.rss_bytes += rss_bytes(pid);
	}
	return usage;
}
