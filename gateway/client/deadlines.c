/*
 * Deadlines by time, see deadlines.h. State: the tree, which goes through the deadlines themselves.
 * Called by sessions and the loop's timer; never blocks.
 */
#include "gateway/client/deadlines.h"

/* Those that are due at the same time are told apart by where they are. */
static int compare(const struct deadline *a, const struct deadline *b)
{
	if (a->due_ms != b->due_ms)
		return a->due_ms < b->due_ms ? -1 : 1;
	return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

SPLAY_PROTOTYPE(deadlines, deadline, entry, compare)
SPLAY_GENERATE(deadlines, deadline, entry, compare)

void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline)
{
	if (deadline->due_ms)
		SPLAY_REMOVE(deadlines, deadlines, deadline);
	deadline->due_ms = 0;
}

void deadlines_set(struct deadlines *deadlines, struct deadline *deadline, int64_t due_ms)
{
	deadlines_clear(deadlines, deadline);
	deadline->due_ms = due_ms > 0 ? due_ms : 1;
	SPLAY_INSERT(deadlines, deadlines, deadline);
}

struct deadline *deadlines_pop(struct deadlines *deadlines, int64_t now_ms)
{
	struct deadline *first = SPLAY_MIN(deadlines, deadlines);

	if (!first || first->due_ms > now_ms)
		return NULL;
	deadlines_clear(deadlines, first);
	return first;
}
