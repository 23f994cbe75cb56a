/*
 * Which file is at a path, so that a program notices when the one it holds open has been deleted or
 * replaced.
 */
#ifndef SHARED_FILE_IDENTITY_H
#define SHARED_FILE_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

struct file_identity {
	dev_t device;
	ino_t inode; /* 0: there is none */
};

struct file_identity file_identity_of(const char *path);

/* True when both are the same file, and it is there. */
bool file_identity_same(struct file_identity a, struct file_identity b);

#endif
