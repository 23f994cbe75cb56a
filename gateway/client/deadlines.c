/*
 * The timing wheel, see deadlines.h. State: one list for each tick of a turn, which also holds what
 * is due in later turns, and the list of what is due now. Called by sessions and the loop's timer;
 * allocates nothing after deadlines_new and never blocks.
 */
#include "gateway/client/deadlines.h"

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/alloc.h"

/* A turn takes 51.2 s: most deadlines of a connection (30 s to its next ping) are within one. */
enum { SLOTS = 512 };

LIST_HEAD(deadline_list, deadline);

struct deadlines {
	int64_t now_ms; /* everything due by then is in `ready` */
	int64_t next_look_ms; /* before then nothing more can be due */
	struct deadline_list ready;
	struct deadline_list slots[SLOTS];
};

static void take_out(struct deadline *deadline)
{
	LIST_REMOVE(deadline, entry);
	deadline->entry.le_prev = NULL;
}

static struct deadline_list *slot_of(struct deadlines *deadlines, int64_t tick)
{
	return &deadlines->slots[(uint64_t)tick % SLOTS];
}

static int64_t next_tick_ms(int64_t now_ms)
{
	return (now_ms / DEADLINES_TICK_MS + 1) * DEADLINES_TICK_MS;
}

struct deadlines *deadlines_new(int64_t now_ms)
{
	struct deadlines *deadlines = xcalloc(1, sizeof(*deadlines));

	deadlines->now_ms = now_ms;
	deadlines->next_look_ms = next_tick_ms(now_ms);
	LIST_INIT(&deadlines->ready);
	for (size_t i = 0; i < SLOTS; i++)
		LIST_INIT(&deadlines->slots[i]);
	return deadlines;
}

void deadlines_free(struct deadlines *deadlines)
{
	free(deadlines);
}

void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, int64_t due_ms)
{
	deadlines_clear(deadlines, deadline);
	deadline->due_ms = due_ms;
	if (due_ms <= deadlines->now_ms) {
		LIST_INSERT_HEAD(&deadlines->ready, deadline, entry);
		return;
	}
	LIST_INSERT_HEAD(slot_of(deadlines, due_ms / DEADLINES_TICK_MS), deadline, entry);
	if (due_ms < deadlines->next_look_ms)
		deadlines->next_look_ms = due_ms;
}

void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline)
{
	(void)deadlines; /* a list's head is not needed for that */
	if (deadline->entry.le_prev)
		take_out(deadline);
}

/* Moves what is due by now_ms out of one slot; what is due later in this tick says when to look
 * again. */
static void collect(struct deadlines *deadlines, struct deadline_list *slot)
{
	struct deadline *next;

	for (struct deadline *deadline = LIST_FIRST(slot); deadline; deadline = next) {
		next = LIST_NEXT(deadline, entry);
		if (deadline->due_ms <= deadlines->now_ms) {
			LIST_REMOVE(deadline, entry);
			LIST_INSERT_HEAD(&deadlines->ready, deadline, entry);
		} else if (deadline->due_ms < deadlines->next_look_ms) {
			deadlines->next_look_ms = deadline->due_ms;
		}
	}
}

/* From the tick of the last look, which may not have been over, to the present one; once around at
 * most, however far the leap. */
static void advance(struct deadlines *deadlines, int64_t now_ms)
{
	int64_t last = now_ms / DEADLINES_TICK_MS;
	int64_t tick = deadlines->now_ms / DEADLINES_TICK_MS;

	if (last - tick >= SLOTS)
		tick = last - SLOTS + 1;
	deadlines->now_ms = now_ms;
	deadlines->next_look_ms = next_tick_ms(now_ms);
	for (; tick <= last; tick++)
		collect(deadlines, slot_of(deadlines, tick));
}

struct deadline *deadlines_pop(struct deadlines *deadlines, int64_t now_ms)
{
	struct deadline *first;

	if (now_ms >= deadlines->next_look_ms)
		advance(deadlines, now_ms);
	first = LIST_FIRST(&deadlines->ready);
	if (first)
		take_out(first);
	return first;
}
