/*
 * Another gateway process, started from the program on disk, to which this one hands sockets and
 * the right to serve down: a successor (restart without loss: there is no moment without either),
 * or one of the workers of a supervisor. And the other end: what a process has inherited.
 */
#ifndef GATEWAY_CHILD_H
#define GATEWAY_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/config/config.h"

enum { CHILD_MAX_LISTEN = 64 };

/* What a process was started with; -1: nothing. */
struct inheritance {
	int worker; /* its number from 1; 0: it is none */
	size_t workers; /* how many there are */
	int service_fd; /* the right to serve */
	int ready_fd;
	int wakeup_fd; /* of a worker: where its supervisor taps */
	int tally_fd; /* of a worker: see tally.h */
	int listen_fds[CHILD_MAX_LISTEN]; /* where `config` says to listen */
	size_t listen_count;
};

/* Reads, once, what this process was started with. Sockets of another address than `config` names
 * are closed. A worker ends when its parent has gone. */
struct inheritance inheritance_take(const struct config *config);

/* Tells the parent that this process serves. */
void inheritance_ready(struct inheritance *inheritance);

struct child;
struct uv_loop_s;

struct child_options {
	struct uv_loop_s *loop; /* borrowed */
	char **argv; /* of this program: the child's too; borrowed */
	const struct config *config; /* borrowed */
	int worker; /* its number, 0: a successor */
	size_t workers; /* how many there are */
	int service_fd, wakeup_fd, tally_fd; /* borrowed; -1: none */
	const int *listen_fds; /* borrowed */
	size_t listen_count;
	/* It serves, or (false) it ended before it did. */
	void (*ready)(void *context, bool serves);
	/* It has ended, which is logged. May be NULL. Each is called once; either may free it. */
	void (*ended)(void *context);
	void *context;
};

/* Starts the program that lies at this one's path now. NULL when that is not possible, and that is
 * logged. */
struct child *child_start(const struct child_options *options);

void child_signal(struct child *child, int number);

/* Lets it go on alone. The uv handles close with the loop's next turn. NULL is allowed. */
void child_free(struct child *child);

#endif
