/*
 * A restart without loss: the program that lies on the disk now is started as this one's successor,
 * and gets the listening sockets and the right to serve handed down, so that there is no moment
 * without either. Both ends of that: the successor, as seen by its predecessor, and what a process
 * has inherited.
 */
#ifndef GATEWAY_SUCCESSOR_H
#define GATEWAY_SUCCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/config/config.h"

enum { SUCCESSOR_MAX_LISTEN = 64, SUCCESSOR_LIMIT_MS = 60000 };

/* How this program was started, remembered at its start: a path that is a link, or that is renamed,
 * says something else later. */
struct program_start {
	char **argv; /* borrowed */
	char *path; /* of the program */
	char *directory; /* where it was started; NULL: unknown */
};

/* What a process has been handed; -1: nothing. */
struct inheritance {
	int worker; /* its number from 1; 0: it is none, see supervisor.h */
	size_t workers; /* how many there are */
	int service_fd; /* the right to serve */
	int ready_fd; /* where it says that it serves */
	int wakeup_fd; /* of a worker: where its supervisor taps */
	int tally_fd; /* of a worker: see tally.h */
	int listen_fds[SUCCESSOR_MAX_LISTEN]; /* where `config` says to listen */
	size_t listen_count;
};

/* Free with program_start_clear. */
struct program_start program_start_remember(char **argv);
void program_start_clear(struct program_start *start);

/* Reads, once, what the predecessor has handed down. Sockets of another address than `config` names
 * are closed. */
struct inheritance inheritance_take(const struct config *config);

/* Tells the predecessor, or the parent of a worker, that this process serves. */
void inheritance_ready(struct inheritance *inheritance);

struct successor;
struct uv_loop_s;

struct successor_options {
	struct uv_loop_s *loop; /* borrowed */
	const struct program_start *start; /* borrowed */
	const struct config *config; /* borrowed */
	int service_fd; /* borrowed */
	const int *listen_fds; /* borrowed */
	size_t listen_count;
	int64_t limit_ms; /* in which it has to serve, or is killed */
	/* Once: it serves; or, after saying so in the log, that it has ended before it did. May
	 * free the successor. */
	void (*told)(void *context, bool serves);
	void *context;
};

/* NULL when it cannot be started, and that is logged. */
struct successor *successor_start(const struct successor_options *options);

/* Whether it serves by now. When this tells so first, `told` is not called. */
bool successor_serves(struct successor *successor);

/* Kills one that does not serve yet, and lets another go on alone. Frees all but the uv handles,
 * which close with the loop's next turn. NULL is allowed. */
void successor_free(struct successor *successor);

/* The same in a fork of its predecessor, whose successor it is not: nothing is killed. */
void successor_forget(struct successor *successor);

#endif
