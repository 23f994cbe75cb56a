/*
 * Who listens to what: topic -> subscribers, in memory, of this process. Pure: no I/O, one thread.
 * (audience.c also keeps the sockets of each user in one; its topics are users.)
 *
 * Finding a topic is one hash look-up; its subscribers lie side by side in an array, so that a
 * fan-out walks memory in order; joining and leaving are O(1). A topic without subscribers takes no
 * memory.
 */
#ifndef GATEWAY_SUBSCRIPTIONS_H
#define GATEWAY_SUBSCRIPTIONS_H

#include <stddef.h>

struct subscriptions;
struct topic; /* a topic with at least one subscriber */
struct batch;

/* Embedded in whatever subscribes; zeroed before its first use. */
struct subscriber {
	struct topic *topic; /* NULL: not subscribed */
	size_t index; /* its place in the topic's array */
};

struct subscriptions *subscriptions_new(void);

/* Forgets everything; subscribers that are still in it are left as they are. NULL is allowed. */
void subscriptions_free(struct subscriptions *subscriptions);

/* `subscriber` must not be subscribed. The topic's bytes are copied once per topic. */
void subscriptions_add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		       const char *topic, size_t len);

/* Leaves; does nothing when it is not subscribed. The last one out frees the topic. */
void subscriptions_remove(struct subscriptions *subscriptions, struct subscriber *subscriber);

/* NULL when nobody listens. Valid until the last subscriber leaves. */
struct topic *subscriptions_find(const struct subscriptions *subscriptions, const char *topic,
				 size_t len);

/* How many topics have a subscriber. */
size_t subscriptions_topics(const struct subscriptions *subscriptions);

/* The array, in no particular order; valid until somebody joins. Walk it from its end to its start,
 * so that the one at hand may leave on the way (the last one takes its place). */
struct subscriber *const *topic_subscribers(const struct topic *topic, size_t *count);

/* A place for what the fan-out is gathering for the topic; NULL at first. */
struct batch **topic_batch(struct topic *topic);

/* The topic's bytes, with a NUL after them. */
const char *topic_name(const struct topic *topic, size_t *len);

#endif
