/*
 * The state_dir, see state_dir.h. No state. Called when a program starts, and when files have gone:
 * it may block on the disk and on the user database.
 */
#include "shared/base/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { REASON_SIZE = 200, FUSE = 0x65735546, MOUNT_SIZE = 4096 };

/* statfs(2), and those that GNU stat(1) counts as remote. */
static const struct {
	uint32_t type;
	const char *name;
} networks[] = {
	{0x00006969, "NFS"},	   {0x0000517B, "SMB"},	   {0xFE534D42, "SMB2"},
	{0xFF534D42, "CIFS"},	   {0x01021997, "9P"},	   {0x00C36400, "Ceph"},
	{0x5346414F, "AFS"},	   {0x6B414653, "AFS"},	   {0x73757245, "Coda"},
	{0x0000564C, "NCP"},	   {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"},
	{0x01161970, "GFS2"},	   {0x7461636F, "OCFS2"},  {0x19830326, "BeeGFS"},
	{0xAAD7AAEA, "PanFS"},	   {0xBACBACBC, "vmhgfs"}, {0x786F4256, "vboxsf"},
	{0x7C7C6673, "Parallels"},
};

const char *filesystem_network_name(uint32_t type, const char *mount_type)
{
	/* A disk under a driver in user space, and the root of a container without root. */
	if (type == FUSE)
		return strcmp(mount_type, "fuseblk") == 0 ||
				       strcmp(mount_type, "fuse.fuse-overlayfs") == 0
			       ? NULL
			       : "FUSE";
	for (size_t i = 0; i < sizeof(networks) / sizeof(*networks); i++)
		if (networks[i].type == type)
			return networks[i].name;
	return NULL;
}

bool filesystem_mount_type(FILE *mountinfo, unsigned device_major, unsigned device_minor,
			   char type[FILESYSTEM_TYPE_SIZE])
{
	char line[MOUNT_SIZE], device[32];

	type[0] = '\0';
	snprintf(device, sizeof(device), " %u:%u ", device_major, device_minor);
	while (!type[0] && fgets(line, sizeof(line), mountinfo)) {
		/* "36 35 98:0 /root /mount options [fields] - type source options": proc(5) */
		const char *behind = strstr(line, " - "), *field = strchr(line, ' ');

		field = field ? strchr(field + 1, ' ') : NULL;
		if (behind && field && strncmp(field, device, strlen(device)) == 0)
			snprintf(type, FILESYSTEM_TYPE_SIZE, "%.*s",
				 (int)strcspn(behind + 3, " \n"), behind + 3);
	}
	return type[0] != '\0';
}

const char *filesystem_network(const char *path)
{
	char type[FILESYSTEM_TYPE_SIZE] = "";
	struct statfs filesystem;
	struct stat info;
	FILE *mountinfo;

	if (statfs(path, &filesystem) != 0 || stat(path, &info) != 0)
		return NULL;
	if ((uint32_t)filesystem.f_type == FUSE &&
	    (mountinfo = fopen("/proc/self/mountinfo", "re")) != NULL) {
		filesystem_mount_type(mountinfo, major(info.st_dev), minor(info.st_dev), type);
		fclose(mountinfo);
	}
	return filesystem_network_name((uint32_t)filesystem.f_type, type);
}

void state_dir_user(uid_t uid, char name[STATE_DIR_USER_SIZE])
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(name, STATE_DIR_USER_SIZE, "%s", user->pw_name);
	else
		snprintf(name, STATE_DIR_USER_SIZE, "uid %lu", (unsigned long)uid);
}

void state_dir_explain(const char *path, int error, char *why, size_t size)
{
	char owner[STATE_DIR_USER_SIZE], us[STATE_DIR_USER_SIZE];
	struct stat info;

	if (error != EACCES && error != EPERM) {
		snprintf(why, size, "%s", strerror(error));
		return;
	}
	state_dir_user(geteuid(), us);
	if (stat(path, &info) == 0) {
		state_dir_user(info.st_uid, owner);
		snprintf(why, size, "%s (it belongs to %s, this program runs as %s)",
			 strerror(error), owner, us);
	} else {
		snprintf(why, size, "%s (this program runs as %s)", strerror(error), us);
	}
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

bool state_dir_prepare(const char *path, bool is_trial, char *why, size_t size)
{
	char above[STATE_DIR_PATH_SIZE], us[STATE_DIR_USER_SIZE];
	int made;

	if (faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0)
		return is_fit(path, why, size);
	snprintf(above, sizeof(above), "%s", path);
	state_dir_user(geteuid(), us);
	made = is_trial ? faccessat(AT_FDCWD, dirname(above), W_OK | X_OK, AT_EACCESS)
			: mkdir(path, 0700);
	if (made == 0 && !is_trial)
		chmod(path, 0700); /* another thread may have had another umask for a moment */
	if (made == 0 || errno == EEXIST)
		return is_trial || is_fit(path, why, size);
	if (errno == ENOENT)
		snprintf(why, size,
			 "cannot make the state_dir: the directory above it does not exist");
	else
		snprintf(why, size, "cannot make the state_dir as %s: %s", us, strerror(errno));
	return false;
}

bool state_dir_file(const char *state_dir, const char *name, char path[STATE_DIR_PATH_SIZE])
{
	int len = snprintf(path, STATE_DIR_PATH_SIZE, "%s/%s", state_dir, name);

	if (len > 0 && len < STATE_DIR_PATH_SIZE)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

bool state_dir_check(const char *path, char *why, size_t size)
{
	static const char *const names[] = {"gateway.lock", "write.lock", "worker.db",
					    "worker.db-wal", "worker.db-shm"};
	char file[STATE_DIR_PATH_SIZE], reason[REASON_SIZE];

	if (!state_dir_prepare(path, true, why, size))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!state_dir_file(path, names[i], file) ||
		    faccessat(AT_FDCWD, file, R_OK | W_OK, AT_EACCESS) == 0 || errno == ENOENT)
			continue;
		state_dir_explain(file, errno, reason, sizeof(reason));
		snprintf(why, size, "cannot write to %s in the state_dir: %s", names[i], reason);
		return false;
	}
	return true;
}
