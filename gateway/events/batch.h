/*
 * Pushes of one topic that go out together. Each is a frame of its own, with or without its id, for
 * WebSockets or for streams, made when somebody first needs it; and all of them in a row are one
 * piece of memory, which goes to a subscriber in one write. An order (unregister, disconnect) is a
 * batch without pushes. One thread.
 */
#ifndef GATEWAY_BATCH_H
#define GATEWAY_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/events/frame.h"
#include "shared/database/feed.h"

/* The forms of a push; everyone who gets the same form shares its memory. */
enum push_form {
	PUSH_PLAIN,
	PUSH_WITH_ID = 1, /* these two may be ORed */
	PUSH_AS_EVENT = 2, /* see frame_of_event */
	PUSH_FORMS = 4
};

/* The pushes of a batch in one form. */
struct joined {
	const char *bytes; /* as they are on the wire, one after the other; NULL: not made yet */
	size_t *ends; /* where each of them ends */
	struct frame **frames; /* each of them alone */
	bool is_short; /* all of them are, see frame_is_short */
};

struct batch {
	TAILQ_ENTRY(batch) entry; /* the owner's */
	struct topic *gathered_for; /* the owner's, while it adds pushes */
	enum event_kind kind;
	int64_t order_id; /* of an order */
	bool is_for_user; /* an order for this user's sockets only */
	int64_t user_id;
	size_t count, capacity;
	struct batch_push {
		int64_t id; /* rising */
		int64_t created_ms; /* wall clock, of the publish */

		/* In a cluster, else 0 and NULL; see feed_event. */
		uint64_t node;
		int64_t number;
		char *position; /* what clients get as its id, the batch's */
	} * pushes;
	struct joined joined[PUSH_FORMS];
	size_t topic_len; /* 0: an order for all topics of a user */
	char topic[];
};

/* An empty one of that kind and topic; the bytes are copied. */
struct batch *batch_new(const struct feed_event *event);

/* NULL is allowed. */
void batch_free(struct batch *batch);

/* Before any batch_join: a push whose payload has been read, with an id above those before. */
void batch_add(struct batch *batch, const struct feed_event *push);

/* All of it in that push_form; it belongs to the batch. */
const struct joined *batch_join(struct batch *batch, unsigned form);

/* Push number `i` for one client alone, to whom it has that id, see frame_of_push. */
struct frame *batch_push_frame(const struct batch *batch, size_t i, const char *id);

/* The number of the first push with an id above `id`; batch->count when there is none. */
size_t batch_first_after(const struct batch *batch, int64_t id);

#endif
