/*
 * One gateway of several processes: a parent that holds the right to serve, the listening sockets
 * and the wake-up, and workers that each serve as a gateway of one process does. The parent starts
 * again what dies, passes signals and taps on, and serves nobody itself.
 *
 * A worker is a fork of its parent: it runs the parent's program by the parent's configuration,
 * whatever lies on the disk meanwhile. Only a successor reads the disk.
 */
#ifndef GATEWAY_SUPERVISOR_H
#define GATEWAY_SUPERVISOR_H

#include <stddef.h>

#include "gateway/processes/successor.h"
#include "shared/config/config.h"

/* How many workers there are to be: 1 means that this process serves itself. */
size_t supervisor_workers(const struct config *config);

enum { SUPERVISOR_WORKER = -1 };

/* The whole life of the parent; returns the exit code. In a worker it returns SUPERVISOR_WORKER,
 * with what that has been handed in *inheritance: it is to serve now. */
int supervisor_run(struct config *config, const struct program_start *start,
		   struct inheritance *inheritance, size_t workers);

#endif
