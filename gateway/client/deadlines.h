/*
 * One deadline for each of very many sessions: a splay tree by time, whose first one is looked at
 * again and again for next to nothing. Allocates nothing. Pure: time is an argument (monotonic
 * milliseconds), one thread.
 */
#ifndef GATEWAY_DEADLINES_H
#define GATEWAY_DEADLINES_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

enum { DEADLINES_TICK_MS = 100 }; /* how often to call deadlines_pop */

/* Embedded in whatever has a deadline; zeroed before its first use. */
struct deadline {
	SPLAY_ENTRY(deadline) entry;
	int64_t due_ms; /* 0: none is set */
};

SPLAY_HEAD(deadlines, deadline); /* all zero: empty */

/* Sets or moves it. One that is already due is handed out by the next deadlines_pop. */
void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, int64_t due_ms);

/* Does nothing when none is set. */
void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline);

/* Takes out and returns the first one whose time has come (due_ms <= now_ms); NULL when there are
 * no more. Call it until then. */
struct deadline *deadlines_pop(struct deadlines *deadlines, int64_t now_ms);

#endif
