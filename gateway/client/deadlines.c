/*
 * The timing wheel, see deadlines.h. State: one list for each tick of a turn, in which what is due
 * in later turns waits too, and the list of what is due now. Called by sessions and the loop's
 * timer; allocates nothing after deadlines_new and never blocks.
 */
#include "gateway/client/deadlines.h"

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/alloc.h"

/* A turn takes 51.2 s: most deadlines of a connection (30 s to its next ping) are within one. */
enum { SLOTS = 512 };

struct deadlines {
	int64_t now_ms; /* everything due by then is in `ready` */
	int64_t next_look_ms; /* before then nothing more can be due */
	struct deadline ready; /* the heads of circular lists */
	struct deadline slots[SLOTS];
};

static void list_init(struct deadline *head)
{
	head->next = head->previous = head;
}

static void list_append(struct deadline *head, struct deadline *deadline)
{
	deadline->next = head;
	deadline->previous = head->previous;
	head->previous->next = deadline;
	head->previous = deadline;
}

static void list_remove(struct deadline *deadline)
{
	deadline->next->previous = deadline->previous;
	deadline->previous->next = deadline->next;
	deadline->next = deadline->previous = NULL;
}

static struct deadline *slot_of(struct deadlines *deadlines, int64_t tick)
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
	list_init(&deadlines->ready);
	for (size_t i = 0; i < SLOTS; i++)
		list_init(&deadlines->slots[i]);
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
		list_append(&deadlines->ready, deadline);
		return;
	}
	list_append(slot_of(deadlines, due_ms / DEADLINES_TICK_MS), deadline);
	if (due_ms < deadlines->next_look_ms)
		deadlines->next_look_ms = due_ms;
}

void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline)
{
	(void)deadlines; /* the lists are circular: a neighbour or a head, it is all the same */
	if (deadline->next)
		list_remove(deadline);
}

/* Moves what is due by now_ms out of one slot; what is due later in this tick tells when to look
 * again. */
static void collect(struct deadlines *deadlines, struct deadline *slot)
{
	struct deadline *next;

	for (struct deadline *deadline = slot->next; deadline != slot; deadline = next) {
		next = deadline->next;
		if (deadline->due_ms <= deadlines->now_ms) {
			list_remove(deadline);
			list_append(&deadlines->ready, deadline);
		} else if (deadline->due_ms < deadlines->next_look_ms) {
			deadlines->next_look_ms = deadline->due_ms;
		}
	}
}

/* From the tick of the last look, which may not have been over, to that of now; once around at
 * most, whatever the leap. */
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
	first = deadlines->ready.next;
	if (first == &deadlines->ready)
		return NULL;
	list_remove(first);
	return first;
}
