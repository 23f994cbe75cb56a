/*
 * The directory of the database, the locks and the wake-up socket: made if it is missing, refused
 * with a reason if it is unfit. Asks the user database for names.
 */
#ifndef SHARED_STATE_DIR_H
#define SHARED_STATE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* In it: the log of a gateway that the API has started. */
#define GATEWAY_LOG_NAME "gateway.log"

enum { STATE_DIR_PATH_SIZE = 4096, STATE_DIR_USER_SIZE = 64 };

/* Makes the directory (mode 0700; its parent must exist) unless it is there, and checks that this
 * program can write to it, that not everybody can, and that it is on a local disk. A symbolic link
 * to a directory is fine. Returns false with the reason for people in `why`. `is_trial`: makes
 * nothing, and only says whether it could. */
bool state_dir_prepare(const char *path, bool is_trial, char *why, size_t size);

/* The same as a trial; false also when one of the programs' files that are there could not
 * be opened. */
bool state_dir_check(const char *path, char *why, size_t size);

/* The path of a file in it. False, with errno ENAMETOOLONG, when it does not fit. */
bool state_dir_file(const char *state_dir, const char *name, char path[STATE_DIR_PATH_SIZE]);

/* What the errno `error` means for a file: strerror's text and, if it is about permissions, whose
 * file it is and who we are. */
void state_dir_explain(const char *path, int error, char *why, size_t size);

/* The name of that user; "uid 1000" when it has none. */
void state_dir_user(uid_t uid, char name[STATE_DIR_USER_SIZE]);

/* Whether SQLite can be trusted on a file system: its write-ahead log is shared through mapped
 * memory, and our locks are flock(2) and fcntl(2). On network file systems other machines do not
 * see that memory, and the locks are often empty promises. */
enum { FILESYSTEM_TYPE_SIZE = 64 };

/* The name for people ("NFS", "FUSE") when a file system with this statfs(2) f_type may be on
 * another machine, else NULL. FUSE has one f_type for everything from sshfs to disks; `mount_type`
 * tells them apart ("fuse.sshfs", "fuseblk"; "" when unknown, which counts as a network). Pure. */
const char *filesystem_network_name(uint32_t type, const char *mount_type);

/* The file system's type of a mounted device, from the text of /proc/self/mountinfo; false, and "",
 * when the device is not in there. */
bool filesystem_mount_type(FILE *mountinfo, unsigned device_major, unsigned device_minor,
			   char type[FILESYSTEM_TYPE_SIZE]);

/* filesystem_network_name of the file system that `path` is on. NULL also when the kernel does not
 * tell. */
const char *filesystem_network(const char *path);

#endif
