/*
 * The signals that a gateway process takes on its loop: SIGTERM, SIGINT, SIGHUP, SIGUSR2 and
 * SIGCHLD. They are blocked from the start, and read from a descriptor (signalfd(2)): one that
 * comes while nobody can deal with it waits, and a fork begins without any.
 */
#ifndef GATEWAY_SIGNALS_H
#define GATEWAY_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

#include "shared/base/log.h"

/* Blocks them, before any thread is started. Returns the descriptor, for this process and its
 * forks: each reads its own signals from it. */
int signals_open(void);

/* The number of one that has come; 0: none has. */
int signals_next(int fd);

/* For SIGCHLD: whether that child (0: there is none) has ended. Then *pid is 0, and `message` is
 * logged, at `level` unless it has ended well. */
bool child_reap(pid_t *pid, enum log_level level, const char *message);

#endif
