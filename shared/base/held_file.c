/* Files in use, see held_file.h. State: in each struct. One stat(2) a look. */
#include "shared/base/held_file.h"

#include <errno.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

void held_file_take(struct held_file *file, const char *path, const char *name, mode_t mode)
{
	struct stat info;
	bool is_there = stat(path, &info) == 0;
	char *old_path = file->path;

	file->path = xstrdup(path);
	free(old_path);
	file->name = name;
	file->mode = mode;
	file->device = is_there ? info.st_dev : 0;
	file->inode = is_there ? info.st_ino : 0;
	file->trouble.level = LOG_ERROR;
	file->trouble.message = "a file was deleted or replaced";
	file->trouble.key = "file";
	file->trouble.cause = name;
}

void held_file_take_open(struct held_file *file, int fd, const char *path, const char *name,
			 mode_t mode)
{
	struct stat info;

	held_file_take(file, path, name, mode);
	if (fstat(fd, &info) == 0) {
		file->device = info.st_dev;
		file->inode = info.st_ino;
	}
}

void held_file_release(struct held_file *file)
{
	free(file->path);
	*file = (struct held_file){0};
}

enum held_file_state held_file_look(const struct held_file *file)
{
	struct stat info;

	if (!file->path)
		return HELD_FILE_IN_PLACE;
	if (stat(file->path, &info) != 0)
		return errno == ENOENT || errno == ENOTDIR ? HELD_FILE_DELETED : HELD_FILE_IN_PLACE;
	if (info.st_ino != file->inode || info.st_dev != file->device)
		return HELD_FILE_REPLACED;
	if ((info.st_mode & file->mode) != file->mode &&
	    chmod(file->path, (info.st_mode & 07777) | file->mode) == 0)
		log_event(LOG_WARN, "a file's mode was changed, gave it back",
			  log_text("file", file->name));
	return HELD_FILE_IN_PLACE;
}

void held_file_note(struct held_file *file, enum held_file_state state)
{
	if (state == HELD_FILE_IN_PLACE)
		log_repeat_ends(&file->trouble, clock_monotonic_ms(),
				"a file is in its place again");
	else
		log_repeat_event(
			&file->trouble, clock_monotonic_ms(),
			log_text("what", state == HELD_FILE_DELETED ? "deleted" : "replaced"));
}

bool file_is_the_same(const struct stat *before, const struct stat *now)
{
	return now->st_mtim.tv_sec == before->st_mtim.tv_sec &&
	       now->st_mtim.tv_nsec == before->st_mtim.tv_nsec && now->st_size == before->st_size &&
	       now->st_ino == before->st_ino && now->st_dev == before->st_dev;
}
