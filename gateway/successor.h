/*
 * Restart without loss: a gateway starts its successor from the program on disk and hands the
 * listening socket and the right to serve down to it, so that there is no moment without either.
 * The two have the socket in common until the old one closes its own; nobody is refused.
 */
#ifndef GATEWAY_SUCCESSOR_H
#define GATEWAY_SUCCESSOR_H

#include <stdbool.h>

#include "shared/config.h"

struct successor;
struct uv_loop_s;

/* What a predecessor handed down; -1: nothing. */
struct inheritance {
	int listen_fd; /* only when it is where `config` says to listen */
	int service_fd;
	int ready_fd;
};

/* Reads, once, what this process was started with. */
struct inheritance inheritance_take(const struct config *config);

/* Tells the predecessor that this one serves. */
void inheritance_ready(struct inheritance *inheritance);

struct successor_options {
	struct uv_loop_s *loop; /* borrowed */
	char **argv; /* of this program: the successor's too; borrowed */
	const struct config *config; /* borrowed */
	int listen_fd, service_fd; /* borrowed */
	/* It serves, or (false) it ended before it did. Called once; may free it. */
	void (*done)(void *context, bool serves);
	void *context;
};

/* Starts the program that lies at this one's path now. NULL when that is not possible, and that is
 * logged. */
struct successor *successor_start(const struct successor_options *options);

/* Lets it go on alone. The uv handles close with the loop's next turn. NULL is allowed. */
void successor_free(struct successor *successor);

#endif
