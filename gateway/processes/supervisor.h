/*
 * One gateway of several processes: a parent that holds the right to serve, the listening sockets
 * and the wake-up, and workers that each serve as a gateway of one process does. The parent starts
 * again what dies, passes signals and taps on, and serves nobody itself.
 */
#ifndef GATEWAY_SUPERVISOR_H
#define GATEWAY_SUPERVISOR_H

#include <stddef.h>

#include "gateway/processes/child.h"
#include "shared/config/config.h"

/* How many workers this process is to have: 1 means that it serves itself. */
size_t supervisor_workers(const struct config *config, const struct inheritance *inheritance);

/* The whole life of the parent; returns the exit code. */
int supervisor_run(struct config *config, char **argv, const struct inheritance *inheritance,
		   size_t workers);

#endif
