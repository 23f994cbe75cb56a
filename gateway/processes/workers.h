/*
 * The workers of a supervisor: each a child process with a listening socket and a wake-up of its
 * own. One that dies is started again, later and later while it does not come up; when one never
 * does, the owner is told to give up.
 */
#ifndef GATEWAY_WORKERS_H
#define GATEWAY_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/presence/tally.h"
#include "shared/config/config.h"

struct uv_loop_s;
struct workers;

struct workers_options {
	struct uv_loop_s *loop; /* all borrowed, for as long as the workers are */
	char **argv;
	const struct config *config;
	int service_fd, tally_fd;
	struct tally *tally;
	const int *listen_fds; /* one for each */
	size_t count;
	void (*all_serve)(void *context); /* once */
	void (*give_up)(void *context); /* one never came up */
	void (*all_ended)(void *context); /* after workers_end */
	void *context;
};

/* Starts them. NULL with errno when there are no sockets for their wake-ups. */
struct workers *workers_start(const struct workers_options *options);

void workers_tap(struct workers *workers);
void workers_signal(struct workers *workers, int number);

/* Signals them to end and starts none again. May call all_ended at once. */
void workers_end(struct workers *workers, int number);

/* After all have ended. Frees all but the uv handles, which close with the loop's next turn. NULL
 * is allowed. */
void workers_free(struct workers *workers);

#endif
