/*
 * Kinds of file systems, see filesystem.h. No state. Called once, at the start; asks the kernel
 * only. Whatever is not known to be a network is taken for a local disk.
 */
#include "shared/base/filesystem.h"

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

enum { FUSE = 0x65735546, LINE_SIZE = 4096 };

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

/* A disk under a driver in user space, and the root of a container without root. */
static const char *const local_fuse_types[] = {"fuseblk", "fuse.fuse-overlayfs"};

const char *filesystem_network_name(uint32_t type, const char *mount_type)
{
	if (type == FUSE) {
		for (size_t i = 0; i < sizeof(local_fuse_types) / sizeof(*local_fuse_types); i++)
			if (strcmp(mount_type, local_fuse_types[i]) == 0)
				return NULL;
		return "FUSE";
	}
	for (size_t i = 0; i < sizeof(networks) / sizeof(*networks); i++)
		if (networks[i].type == type)
			return networks[i].name;
	return NULL;
}

/* A line is "36 35 98:0 /root /mount options [optional fields] - type source options": see proc(5).
 */
static bool is_of_device(const char *line, const char *device)
{
	const char *field = strchr(line, ' ');

	field = field ? strchr(field + 1, ' ') : NULL;
	return field && strncmp(field, device, strlen(device)) == 0;
}

bool filesystem_mount_type(FILE *mountinfo, unsigned device_major, unsigned device_minor,
			   char type[FILESYSTEM_TYPE_SIZE])
{
	char line[LINE_SIZE], device[32];

	type[0] = '\0';
	snprintf(device, sizeof(device), " %u:%u ", device_major, device_minor);
	while (fgets(line, sizeof(line), mountinfo)) {
		const char *behind = strstr(line, " - ");

		if (!behind || !is_of_device(line, device))
			continue;
		behind += strlen(" - ");
		snprintf(type, FILESYSTEM_TYPE_SIZE, "%.*s", (int)strcspn(behind, " \n"), behind);
		return type[0] != '\0';
	}
	return false;
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
