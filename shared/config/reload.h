/*
 * A changed configuration file, taken over by a running program: all of it, or nothing if it has a
 * fault. What cannot change while a program runs stays, and the log says so.
 */
#ifndef SHARED_RELOAD_H
#define SHARED_RELOAD_H

#include <stdbool.h>

#include "shared/config/config.h"

/* Reads the file again and takes it over: changes *config in place. False, with the reason logged,
 * if it is not good: then the old values stay. */
bool reload_now(struct config *config);

/* The same when the file has changed since `config` was read; looks at most every
 * RELOAD_INTERVAL_MS. True when something was taken over. */
bool reload_if_changed(struct config *config);

enum { RELOAD_INTERVAL_MS = 100 };

#endif
