/*
 * A file, socket or directory in use that others may delete, rename, replace or lock us out of
 * while we run: backup tools, cleaners, people. Look at it about once a second, say in the log what
 * happened to it, once, and make it anew.
 */
#ifndef SHARED_HELD_FILE_H
#define SHARED_HELD_FILE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "shared/base/log_repeat.h"

/* The zeroed struct holds nothing. */
struct held_file {
	char *path; /* owned */
	const char *name; /* for the log */
	mode_t mode; /* the bits that we need */
	dev_t device;
	ino_t inode; /* 0: there was none */
	struct log_repeat trouble;
};

/* Holds what is at `path` (copied) from now on; `name` is constant, and appears in the log. Let go
 * of it with held_file_release. */
void held_file_take(struct held_file *file, const char *path, const char *name, mode_t mode);
void held_file_release(struct held_file *file);

/* The same, of the file that was opened as `fd`: others may have put something else there since. */
void held_file_take_open(struct held_file *file, int fd, const char *path, const char *name,
			 mode_t mode);

enum held_file_state {
	HELD_FILE_IN_PLACE, /* or nothing is held, or it cannot be told */
	HELD_FILE_DELETED, /* or renamed: nothing is there */
	HELD_FILE_REPLACED /* something else is there */
};

/* Looks at the path. A file of ours that we could no longer open gets its mode back. */
enum held_file_state held_file_look(const struct held_file *file);

/* Says in the log that it is not in its place, or that it is in place again. */
void held_file_note(struct held_file *file, enum held_file_state state);

/* Given two looks at a path: whether it is the same file, with the same content. */
bool file_is_the_same(const struct stat *before, const struct stat *now);

#endif
