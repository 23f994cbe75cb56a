/*
 * When to look into the database: at once when a datagram taps on <state_dir>/wakeup.sock, and once
 * a second anyway. What a datagram says is never looked at.
 */
#ifndef GATEWAY_WAKEUP_H
#define GATEWAY_WAKEUP_H

#include <stdbool.h>

struct wakeup;
struct uv_loop_s;

enum { WAKEUP_INTERVAL_MS = 1000, WAKEUP_DRAIN_MS = 20 };

/* Looks, at most once in a turn of the loop. Returns in how many milliseconds to look again, tapped
 * or not (0: in the next turn), or WAKEUP_WHEN_TAPPED. */
typedef int wakeup_look(void *context);
enum { WAKEUP_WHEN_TAPPED = -1 };

/* NULL with errno. `loop` is borrowed. `fd`: -1, and the caller holds the right to serve this
 * state_dir; or a worker's datagram socket, which its supervisor taps, now owned by the
 * wake-up. */
struct wakeup *wakeup_open(struct uv_loop_s *loop, const char *state_dir, int fd, wakeup_look *look,
			   void *context);

/* What the supervisor has sent with a tap: a listening socket, now the caller's; -1: nothing. */
int wakeup_take_fd(struct wakeup *wakeup);

/* This process drains while others serve. The path belongs to a successor by now, and is left
 * alone. Whoever taps is connected to one of the two sockets: a tap that comes here is passed on,
 * and because of those that go there the timer looks every WAKEUP_DRAIN_MS. */
void wakeup_hand_over(struct wakeup *wakeup);

/* Removes the socket's file. Frees all but the uv handles: the loop must run once more to close
 * them. NULL is allowed. */
void wakeup_close(struct wakeup *wakeup);

#endif
