/*
 * One gateway of several processes: a parent that holds the right to serve, the listening sockets
 * and the wake-up, and workers, each of which serves as a gateway of one process does. The parent
 * restarts what dies, passes on signals and taps, and serves nobody itself.
 *
 * A worker is a fork of its parent: it runs the parent's program with the parent's configuration,
 * whatever is on disk meanwhile. Only a successor reads the disk.
 */
#ifndef GATEWAY_SUPERVISOR_H
#define GATEWAY_SUPERVISOR_H

#include "gateway/processes/successor.h"
#include "shared/config/config.h"

enum { SUPERVISOR_WORKER = -1 };

/* The whole life of the parent; returns the exit code. In a worker it returns SUPERVISOR_WORKER,
 * with what the worker inherits in *inheritance: it is to serve now. So it does, at once, if there
 * is to be one process only. */
int supervisor_run(struct config *config, struct inheritance *inheritance);

#endif
