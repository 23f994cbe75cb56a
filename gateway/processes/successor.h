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
#include <sys/stat.h>

#include "shared/base/handed_down.h"
#include "shared/config/config.h"
#include "shared/database/liveness.h"

enum { SUCCESSOR_MAX_LISTEN = 64 };

struct tally;

/* What a process has from before, and hands on: how it was started, the right to serve, the
 * sockets. -1: nothing. */
struct inheritance {
	char **argv; /* borrowed */
	char *directory; /* where it was started, by the name it had then; NULL: unknown */
	struct stat program; /* what was last started of it; st_ino 0: unknown */
	struct stat newer; /* what has been in its place since */
	int steady_looks;
	int signals_fd; /* see signals.h */
	int worker; /* of a worker: its number, from 1; 0: it is not a worker, see supervisor.h */
	size_t workers; /* how many there are */
	int service_fd; /* the right to serve */
	int refusals; /* of that right, in a row */
	int ready_fd; /* where it says that it is serving */
	int wakeup_fd; /* of a worker: where its supervisor taps */
	struct tally *tally; /* of a worker, whose own it is now; NULL: none */
	int listen_fds[SUCCESSOR_MAX_LISTEN]; /* where `config` says to listen */
	size_t listen_count;
};

/* Reads, once, what the predecessor has handed down. Sockets at another address than the one in
 * `config` are closed. False, after logging it, when it comes in a form of another version. Free
 * with inheritance_clear. */
bool inheritance_take(struct inheritance *inheritance, const struct config *config, char **argv);
void inheritance_clear(struct inheritance *inheritance);

/* Prepares the state_dir and takes the right to serve it, which a worker leaves to its parent. NULL
 * after logging why; *exit_code is what the program then ends with. */
struct liveness *inheritance_claim(struct inheritance *inheritance, const struct config *config,
				   int *exit_code);

/* The right to serve is the successor's from now on, on whichever directory. */
void inheritance_hand_over(struct inheritance *inheritance);

/* About once a second, but not while there is a successor, which does so once it serves: looks
 * after gateway.log; and, unless it is a worker's, holds the right to serve on the state_dir,
 * should it be another directory by now, and with gateway_autostart sends this process SIGUSR2 when
 * the program on the disk was replaced. False, after logging that, when another gateway has had the
 * right for some looks. */
bool inheritance_keep(struct inheritance *inheritance, const struct config *config);

/* Tells the predecessor, or a worker's parent, that this process is serving; and, unless it is a
 * worker, the service manager and whoever reads gateway.lock. */
void inheritance_ready(struct inheritance *inheritance, struct liveness *liveness);

struct successor;
struct uv_loop_s;

/* Called once: it is serving; or, after logging that, it has ended before it was. May free the
 * successor, and successor_settle says which it is. */
typedef void successor_told(void *context);

/* Starts one, which inherits what this process has and is killed if it does not serve in time.
 * NULL, after logging it, when it cannot be started. `loop` and `inheritance` are borrowed. */
struct successor *successor_start(struct uv_loop_s *loop, const struct inheritance *inheritance,
				  const struct config *config, int64_t limit_ms,
				  successor_told *told, void *context);

/* To be called on SIGCHLD. NULL is allowed. */
void successor_reap(struct successor *successor);

/* True when it is serving by now. If this call is the first to find out, `told` is not called.
 * NULL: there is none. */
bool successor_serves(struct successor *successor);

/* The same; one that is not serving is freed, and the pointer cleared. Until a successor serves,
 * this process is the service, and when it is told to end, both do. */
bool successor_settle(struct successor **successor);

/* Kills one that is not serving yet; one that is goes on alone. Frees all but the uv handles, which
 * close with the loop's next turn. NULL is allowed. */
void successor_free(struct successor *successor);

/* The same in a fork of its predecessor, which has no say over it: nothing is killed. */
void successor_forget(struct successor *successor);

#endif
