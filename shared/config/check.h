/*
 * --check-config: would a program start with this configuration? Judged for the user who asks, or
 * for the owner of the state_dir when root asks. Nothing is made or changed.
 */
#ifndef SHARED_CHECK_H
#define SHARED_CHECK_H

#include <stdbool.h>

/* Prints what will be used to stdout, and as its last line the verdict "FILE: ok"; what is wrong
 * goes to stderr, also at the end. False then. The process may run as another user afterwards: it
 * is for one that ends now. */
bool check_config(const char *path);

#endif
