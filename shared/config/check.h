/*
 * --check-config: would a program start with this configuration? Judged for the user who asks, or
 * for the owner of the state_dir when root asks. Nothing is made or changed.
 */
#ifndef SHARED_CHECK_H
#define SHARED_CHECK_H

#include <stdbool.h>

/* Prints what will be used to stdout, with the verdict "FILE: ok" as the last line. If something is
 * wrong it goes to stderr instead, and the result is false. Afterwards the process may run as
 * another user: call this only in one that is about to end. */
bool check_config(const char *path);

#endif
