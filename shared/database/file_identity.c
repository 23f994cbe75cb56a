/* Telling files apart, see file_identity.h. No state; one stat(2). */
#include "shared/database/file_identity.h"

#include <sys/stat.h>

struct file_identity file_identity_of(const char *path)
{
	struct stat info;

	if (lstat(path, &info) != 0)
		return (struct file_identity){0};
	return (struct file_identity){.device = info.st_dev, .inode = info.st_ino};
}

bool file_identity_same(struct file_identity a, struct file_identity b)
{
	return a.inode != 0 && a.inode == b.inode && a.device == b.device;
}
