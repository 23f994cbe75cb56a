/*
 * The directory of the database, the locks and the wake-up socket: made if it is missing, refused
 * with a reason if it is unfit. Used when a program starts; asks the user database for names.
 */
#ifndef SHARED_STATE_DIR_H
#define SHARED_STATE_DIR_H

#include <stdbool.h>
#include <stddef.h>

enum { STATE_DIR_PATH_SIZE = 4096 };

/* Makes the directory (mode 0700; its parent must exist) unless it is there, and checks that this
 * program can write to it, that not everybody can, and that it is on a local disk. A symbolic link
 * to a directory is fine. Returns false with the reason for people in `why`. */
bool state_dir_prepare(const char *path, char *why, size_t size);

/* The same, but makes nothing: false when state_dir_prepare would say so. */
bool state_dir_check(const char *path, char *why, size_t size);

/* The path of a file in it. False, with errno ENAMETOOLONG, when it does not fit. */
bool state_dir_file(const char *state_dir, const char *name, char path[STATE_DIR_PATH_SIZE]);

/* What the errno `error` means for a file: strerror's text and, if it is about permissions, whose
 * file it is and who we are. */
void state_dir_explain(const char *path, int error, char *why, size_t size);

#endif
