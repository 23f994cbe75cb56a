/*
 * Whether SQLite can be trusted on a file system. Its write-ahead log is shared through mapped
 * memory, and our locks are flock(2) and fcntl(2): on network file systems other machines do not
 * see that memory, and the locks are often empty promises.
 */
#ifndef SHARED_FILESYSTEM_H
#define SHARED_FILESYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { FILESYSTEM_TYPE_SIZE = 64 };

/* The name for people ("NFS", "FUSE") when a file system with this statfs(2) f_type may be on
 * another machine, else NULL. FUSE has one f_type for everything from sshfs to disks; `mount_type`
 * tells them apart ("fuse.sshfs", "fuseblk"; "" when unknown, which counts as a network). Pure. */
const char *filesystem_network_name(uint32_t type, const char *mount_type);

/* The type of the mounted device in the text of /proc/self/mountinfo; false, and "", when it is not
 * there. */
bool filesystem_mount_type(FILE *mountinfo, unsigned device_major, unsigned device_minor,
			   char type[FILESYSTEM_TYPE_SIZE]);

/* filesystem_network_name for where `path` is. NULL too when the kernel does not tell. */
const char *filesystem_network(const char *path);

#endif
