/*
 * The state_dir, see state_dir.h. No state. Called at the start only: it may block on the disk and
 * on the user database.
 */
#include "shared/base/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/filesystem.h"

enum { NAME_SIZE = 64, REASON_SIZE = 200 };

static void user_name(uid_t uid, char name[NAME_SIZE])
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(name, NAME_SIZE, "%s", user->pw_name);
	else
		snprintf(name, NAME_SIZE, "uid %lu", (unsigned long)uid);
}

void state_dir_explain(const char *path, int error, char *why, size_t size)
{
	char owner[NAME_SIZE], us[NAME_SIZE];
	struct stat info;

	if ((error != EACCES && error != EPERM) || stat(path, &info) != 0) {
		snprintf(why, size, "%s", strerror(error));
		return;
	}
	user_name(info.st_uid, owner);
	user_name(geteuid(), us);
	snprintf(why, size, "%s (it belongs to %s, this program runs as %s)", strerror(error),
		 owner, us);
}

/* As mkdir(2), but makes nothing: 0 when it could. */
static int try_to_make(const char *path)
{
	char above[STATE_DIR_PATH_SIZE];

	if (access(path, F_OK) == 0)
		return 0;
	snprintf(above, sizeof(above), "%s", path);
	return faccessat(AT_FDCWD, dirname(above), W_OK | X_OK, AT_EACCESS);
}

static bool may_be_made(int made, char *why, size_t size)
{
	int error = errno;
	char us[NAME_SIZE];

	if (made == 0 || error == EEXIST)
		return true;
	if (error == ENOENT) {
		snprintf(why, size,
			 "cannot make the state_dir: the directory above it does not exist");
	} else {
		user_name(geteuid(), us);
		snprintf(why, size, "cannot make the state_dir as %s: %s", us, strerror(error));
	}
	return false;
}

static bool is_fit(const char *path, char *why, size_t size)
{
	char reason[REASON_SIZE];
	const char *network;
	struct stat info;

	if (stat(path, &info) != 0) {
		snprintf(why, size, "cannot use the state_dir: %s", strerror(errno));
	} else if (!S_ISDIR(info.st_mode)) {
		snprintf(why, size, "the state_dir is not a directory");
	} else if (info.st_mode & S_IWOTH) {
		snprintf(why, size,
			 "every user can write to the state_dir (mode %04o): it must be 0700",
			 info.st_mode & 07777U);
	} else if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
		state_dir_explain(path, errno, reason, sizeof(reason));
		snprintf(why, size, "cannot write to the state_dir: %s", reason);
	} else if ((network = filesystem_network(path)) != NULL) {
		snprintf(why, size,
			 "the state_dir is on a network file system (%s), where the database would "
			 "be damaged: choose a directory on a local disk",
			 network);
	} else {
		return true;
	}
	return false;
}

bool state_dir_prepare(const char *path, char *why, size_t size)
{
	return may_be_made(mkdir(path, 0700), why, size) && is_fit(path, why, size);
}

bool state_dir_check(const char *path, char *why, size_t size)
{
	return may_be_made(try_to_make(path), why, size) &&
	       (access(path, F_OK) != 0 || is_fit(path, why, size));
}

bool state_dir_file(const char *state_dir, const char *name, char path[STATE_DIR_PATH_SIZE])
{
	int len = snprintf(path, STATE_DIR_PATH_SIZE, "%s/%s", state_dir, name);

	if (len > 0 && len < STATE_DIR_PATH_SIZE)
		return true;
	errno = ENAMETOOLONG;
	return false;
}
