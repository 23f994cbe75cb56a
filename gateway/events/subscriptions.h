/*
 * Who listens to what in this process: topic -> subscribers, in memory. Pure: no I/O, one thread.
 * (audience.c also keeps the sockets of each user in one; its topics are users.)
 *
 * A topic is found in a few steps, whatever the names are (they come from outside); its subscribers
 * lie side by side in an array, so that a fan-out walks memory in order; joining one and leaving it
 * are O(1). A topic without subscribers takes no memory.
 */
#ifndef GATEWAY_SUBSCRIPTIONS_H
#define GATEWAY_SUBSCRIPTIONS_H

#include <bsd/sys/tree.h>
#include <stddef.h>
#include <stdint.h>

struct batch;

/* Embedded in whatever subscribes; zeroed before its first use. */
struct subscriber {
	struct topic *topic; /* NULL: not subscribed */
	size_t index; /* its place in the topic's array */
};

/* A topic with at least one subscriber; all but `batch` is for reading. */
struct topic {
	RB_ENTRY(topic) entry;
	/* In no particular order; valid until somebody joins. Walk it from its end to its start, so
	 * that the one at hand may leave on the way (the last one takes its place). */
	struct subscriber **subscribers; /* &only, or an array of its own */
	struct subscriber *only;
	size_t count;
	struct batch *batch; /* what the fan-out is gathering for it; NULL at first */
	uint32_t capacity, name_len;
	char name[]; /* and a NUL */
};

/* Begin with zeroes. */
struct subscriptions {
	RB_HEAD(topics, topic) topics;
	size_t count; /* of them */
};

/* Forgets everything; subscribers that are still in it are left as they are. */
void subscriptions_clear(struct subscriptions *subscriptions);

/* `subscriber` must not be subscribed. The topic's bytes are copied once per topic. */
void subscriptions_add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		       const char *name, size_t len);

/* Leaves; does nothing when it is not subscribed. The last one out frees the topic. */
void subscriptions_remove(struct subscriptions *subscriptions, struct subscriber *subscriber);

/* NULL when nobody listens. Valid until the last subscriber leaves. */
struct topic *subscriptions_find(const struct subscriptions *subscriptions, const char *name,
				 size_t len);

#endif
