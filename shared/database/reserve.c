/* Room on the disk, see reserve.h. State: the file. Any process of ours keeps it. */
#include "shared/database/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shared/base/state_dir.h"

#define NAME "reserve"

void reserve_give_up(const char *state_dir)
{
	char path[STATE_DIR_PATH_SIZE];

	if (state_dir_file(state_dir, NAME, path))
		unlink(path);
}

/* Where the file system cannot promise room there is none: zeroes would be written otherwise. */
bool reserve_keep(const char *state_dir, int64_t bytes)
{
	char path[STATE_DIR_PATH_SIZE];
	struct statvfs disk;
	struct stat info = {0};
	bool is_made;
	int fd;

	if (!state_dir_file(state_dir, NAME, path) || statvfs(state_dir, &disk) != 0)
		return false;
	if (stat(path, &info) == 0 ? info.st_size == bytes : bytes == 0)
		return true;
	unlink(path);
	if (bytes == 0 || disk.f_bavail * disk.f_frsize / 5 * 4 < (uint64_t)bytes)
		return bytes == 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	is_made = fd >= 0 && fallocate(fd, 0, 0, bytes) == 0;
	if (fd >= 0 && !is_made)
		unlink(path);
	if (fd >= 0)
		close(fd);
	return is_made;
}
