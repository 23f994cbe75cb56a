/*
 * Who has not proved anything yet, see pending.h. State: two queues, linked through what waits.
 * Called for each connection that comes; allocates nothing, never blocks.
 */
#include "gateway/client/pending.h"

void pending_remove(struct pending_list *list, struct pending *pending)
{
	if (pending->stage == PENDING_NONE)
		return;
	if (pending->previous)
		pending->previous->next = pending->next;
	else
		list->queues[pending->stage].first = pending->next;
	if (pending->next)
		pending->next->previous = pending->previous;
	else
		list->queues[pending->stage].last = pending->previous;
	pending->next = pending->previous = NULL;
	pending->stage = PENDING_NONE;
	list->count--;
}

void pending_put(struct pending_list *list, struct pending *pending, enum pending_stage stage)
{
	pending_remove(list, pending);
	pending->previous = list->queues[stage].last;
	if (pending->previous)
		pending->previous->next = pending;
	else
		list->queues[stage].first = pending;
	list->queues[stage].last = pending;
	pending->stage = (uint8_t)stage;
	list->count++;
}

struct pending *pending_first(const struct pending_list *list)
{
	struct pending *leaving = list->queues[PENDING_LEAVING].first;

	return leaving ? leaving : list->queues[PENDING_WAITING].first;
}
