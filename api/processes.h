/*
 * Several processes of the API at one socket, without a spawner: a parent that listens, starts them
 * and starts them again, and serves nobody itself. A process is a fork of its parent, whatever is
 * on disk meanwhile, and notices by itself that the configuration has changed.
 */
#ifndef API_PROCESSES_H
#define API_PROCESSES_H

#include <stdbool.h>

#include "shared/config/options.h"

enum { PROCESSES_CHILD = -1, PROCESSES_MOST = 64 };

/* Whether the command line or a service manager (LISTEN_FDS of systemd) asks for it. */
bool processes_are_wanted(const struct listen_options *options);

/* The whole life of the parent; returns the exit code. In a child it returns PROCESSES_CHILD, with
 * the socket as descriptor 0: it is to serve. `argv` is borrowed. */
int processes_run(const struct listen_options *options, char **argv);

#endif
