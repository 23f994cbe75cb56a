/*
 * The signals that the gateway, and the parent of API processes, take on their loops: SIGTERM,
 * SIGINT, SIGHUP, SIGUSR2 and SIGCHLD. They are blocked from the start, and read from a descriptor
 * (signalfd(2)): one that comes while nobody can deal with it waits, and a fork begins without any.
 */
#ifndef SHARED_SIGNALS_H
#define SHARED_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

#include "shared/base/log.h"

/* Blocks them, before any thread is started. Returns the descriptor, for this process and its
 * forks: each reads its own signals from it. */
int signals_open(void);

/* The number of one that has come; 0: none has. */
int signals_next(int fd);

/* For SIGCHLD: whether that child (0: there is none) has ended. If so, *pid becomes 0 and `message`
 * is logged, at `level` unless the child ended well. */
bool child_reap(pid_t *pid, enum log_level level, const char *message);

/* Logs the same for a child that waitpid(2) has reported. */
void child_log(pid_t pid, int status, enum log_level level, const char *message);

#endif
