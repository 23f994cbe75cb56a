/*
 * One deadline for each of very many sessions: a hashed timing wheel (Varghese and Lauck, 1987,
 * scheme 6). Setting, moving and clearing are O(1); nothing is allocated. Resolution is
 * DEADLINES_TICK_MS. Pure: time is an argument (monotonic milliseconds), one thread.
 */
#ifndef GATEWAY_DEADLINES_H
#define GATEWAY_DEADLINES_H

#include <stdint.h>
#include <sys/queue.h>

enum { DEADLINES_TICK_MS = 100 };

struct deadlines;

/* Embedded in whatever has a deadline; zeroed before its first use. */
struct deadline {
	LIST_ENTRY(deadline) entry; /* .le_prev NULL: none is set */
	int64_t due_ms;
};

struct deadlines *deadlines_new(int64_t now_ms);

/* Forgets everything; deadlines that are still set are left as they are. NULL is allowed. */
void deadlines_free(struct deadlines *deadlines);

/* Sets or moves it. One that is already due is handed out by the next deadlines_pop. */
void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, int64_t due_ms);

/* Does nothing when none is set. */
void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline);

/* Takes out and returns one whose time has come (due_ms <= now_ms), never early, and at most a tick
 * late when called every tick; NULL when there are no more. Call it until then. They come in no
 * particular order. `now_ms` may have made any leap forward, and never goes back. */
struct deadline *deadlines_pop(struct deadlines *deadlines, int64_t now_ms);

#endif
