/*
 * Room on the disk that is kept for bad times, `disk_reserve` bytes in <state_dir>/reserve: it is
 * given up when the disk is full, because even a DELETE and a checkpoint need some.
 */
#ifndef SHARED_RESERVE_H
#define SHARED_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the file, if it is not there or has another size, unless that would take more than four
 * fifths of what is left of the disk; 0 bytes: removes it. Nothing is written into it. False: there
 * is no room for it now. */
bool reserve_keep(const char *state_dir, int64_t bytes);

void reserve_give_up(const char *state_dir);

#endif
