/*
 * Connections that have not proved anything yet, see pending.h. State: two queues, linked through
 * what waits in them. Called for each connection that comes; allocates nothing, never blocks.
 */
#include "gateway/client/pending.h"

void pending_list_init(struct pending_list *list)
{
	for (int stage = 0; stage < PENDING_STAGES; stage++)
		TAILQ_INIT(&list->queues[stage]);
	list->count = 0;
}

void pending_remove(struct pending_list *list, struct pending *pending)
{
	if (pending->stage == PENDING_NONE)
		return;
	TAILQ_REMOVE(&list->queues[pending->stage], pending, entry);
	pending->stage = PENDING_NONE;
	list->count--;
}

void pending_put(struct pending_list *list, struct pending *pending, enum pending_stage stage)
{
	pending_remove(list, pending);
	TAILQ_INSERT_TAIL(&list->queues[stage], pending, entry);
	pending->stage = (uint8_t)stage;
	list->count++;
}

struct pending *pending_first(const struct pending_list *list)
{
	struct pending *leaving = TAILQ_FIRST(&list->queues[PENDING_LEAVING]);

	return leaving ? leaving : TAILQ_FIRST(&list->queues[PENDING_WAITING]);
}
