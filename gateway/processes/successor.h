/*
 * A restart without loss: the program that is on disk now is started as this one's successor, and
 * inherits the listening sockets and the right to serve, so that there is no moment without them.
 * This is both ends of that: the successor, as its predecessor sees it, and what a process has
 * inherited.
 */
#ifndef GATEWAY_SUCCESSOR_H
#define GATEWAY_SUCCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/config/config.h"

enum { SUCCESSOR_MAX_LISTEN = 64, SUCCESSOR_LIMIT_MS = 60000 };

/* How this program was started, remembered from the start: a path that is a link, or that is
 * renamed, leads elsewhere later. */
struct program_start {
	char **argv; /* borrowed */
	char *path; /* of the program */
	char *directory; /* where it was started; NULL: unknown */
};

struct tally;

/* What a process has been handed; -1: nothing. */
struct inheritance {
	int worker; /* of a worker: its number, from 1; 0: it is not a worker, see supervisor.h */
	size_t workers; /* how many there are */
	int service_fd; /* the right to serve */
	int ready_fd; /* where it says that it is serving */
	int wakeup_fd; /* of a worker: where its supervisor taps */
	struct tally *tally; /* of a worker, whose own it is now; NULL: none */
	int listen_fds[SUCCESSOR_MAX_LISTEN]; /* where `config` says to listen */
	size_t listen_count;
};

/* Free with program_start_clear. */
struct program_start program_start_remember(char **argv);
void program_start_clear(struct program_start *start);

/* Reads, once, what the predecessor has handed down. Sockets at another address than the one in
 * `config` are closed. */
struct inheritance inheritance_take(const struct config *config);

/* Tells the predecessor, or the parent of a worker, that this process is serving. */
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
	int64_t limit_ms; /* how long it has until it serves, or is killed */
	/* Called once: it is serving; or, after logging that, it has ended before it was. May free
	 * the successor. */
	void (*told)(void *context, bool serves);
	void *context;
};

/* NULL, after logging it, when it cannot be started. */
struct successor *successor_start(const struct successor_options *options);

/* True when it is serving by now. If this is the first to say so, `told` is not called. */
bool successor_serves(struct successor *successor);

/* Kills one that is not serving yet; one that is goes on alone. Frees all but the uv handles, which
 * close with the loop's next turn. NULL is allowed. */
void successor_free(struct successor *successor);

/* The same in a fork of its predecessor, which has no say over it: nothing is killed. */
void successor_forget(struct successor *successor);

#endif
