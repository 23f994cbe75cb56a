/*
 * When a file was made. File systems give the number of an inode again as soon as nobody has the
 * file any more: only together with this does it say which file one is.
 */
#ifndef SHARED_BIRTH_H
#define SHARED_BIRTH_H

#include <stdint.h>

/* Of what is at `path`, or of the open file `fd` when that is "". In nanoseconds since 1970, in
 * steps of some milliseconds; 0: it cannot be told (a kernel before 4.11, a file system that does
 * not know), or there is none. */
int64_t file_birth_ns(int fd, const char *path);

#endif
