/*
 * The signals that a gateway process takes on its loop: SIGTERM, SIGINT, SIGHUP and SIGUSR2. While
 * nobody can deal with them in order, as the program starts and as it ends, they wait.
 */
#ifndef GATEWAY_SIGNALS_H
#define GATEWAY_SIGNALS_H

#include <stdbool.h>

struct signals;
struct uv_loop_s;

typedef void signals_handler(void *context, int number);

/* Holds them and SIGCHLD back, or lets them come. */
void signals_hold(bool hold);

/* Hands each one that comes to `handler`, on the loop (borrowed), and holds none back any more. */
struct signals *signals_take(struct uv_loop_s *loop, signals_handler *handler, void *context);

/* The reverse. Frees all but the uv handles, which the loop must run once more to close. NULL is
 * allowed. */
void signals_leave(struct signals *signals);

#endif
