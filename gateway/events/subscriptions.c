/*
 * Topic -> subscribers, see subscriptions.h. State: the topics, in a balanced tree: no choice of
 * names makes it slow. Called by sessions that come and go and by every event; never blocks.
 *
 * A topic with a single subscriber, the common case, is one allocation of about 70 bytes plus the
 * name.
 */
#include "gateway/events/subscriptions.h"

#include <stdbool.h>

#include "shared/base/alloc.h"

enum { FIRST_CAPACITY = 4 };

static int compare_names(const char *name, size_t len, const struct topic *topic)
{
	if (len != topic->name_len)
		return len < topic->name_len ? -1 : 1;
	return memcmp(name, topic->name, len);
}

static int compare(const struct topic *a, const struct topic *b)
{
	return compare_names(a->name, a->name_len, b);
}

RB_PROTOTYPE(topics, topic, entry, compare)
RB_GENERATE(topics, topic, entry, compare)

static void remove_topic(struct subscriptions *subscriptions, struct topic *topic)
{
	RB_REMOVE(topics, &subscriptions->topics, topic);
	subscriptions->count--;
	if (topic->subscribers != &topic->only)
		free(topic->subscribers);
	free(topic);
}

void subscriptions_clear(struct subscriptions *subscriptions)
{
	while (!RB_EMPTY(&subscriptions->topics))
		remove_topic(subscriptions, RB_ROOT(&subscriptions->topics));
}

struct topic *subscriptions_find(const struct subscriptions *subscriptions, const char *name,
				 size_t len)
{
	struct topic *topic = RB_ROOT(&subscriptions->topics);
	int order;

	while (topic && (order = compare_names(name, len, topic)) != 0)
		topic = order < 0 ? RB_LEFT(topic, entry) : RB_RIGHT(topic, entry);
	return topic;
}

void subscriptions_add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		       const char *name, size_t len)
{
	struct topic *topic = subscriptions_find(subscriptions, name, len);

	/* Makes room for one more. This is also the time to give back what a crowd that has left
	 * needed: not when they leave, for then somebody may be walking the array. */
	if (topic && (topic->count == topic->capacity ||
		      (topic->capacity > FIRST_CAPACITY && topic->count < topic->capacity / 4))) {
		bool has_array = topic->subscribers != &topic->only;
		size_t capacity =
			topic->count < FIRST_CAPACITY / 2 ? FIRST_CAPACITY : topic->count * 2;
		struct subscriber **array = xreallocarray(has_array ? topic->subscribers : NULL,
							  capacity, sizeof(struct subscriber *));

		if (!has_array)
			array[0] = topic->only;
		topic->subscribers = array;
		topic->capacity = (uint32_t)capacity;
	}
	if (!topic) {
		topic = xcalloc(1, sizeof(*topic) + len + 1);
		topic->subscribers = &topic->only;
		topic->capacity = 1;
		topic->name_len = (uint32_t)len;
		memcpy(topic->name, name, len);
		RB_INSERT(topics, &subscriptions->topics, topic);
		subscriptions->count++;
	}
	*subscriber = (struct subscriber){topic, topic->count};
	topic->subscribers[topic->count++] = subscriber;
}

void subscriptions_remove(struct subscriptions *subscriptions, struct subscriber *subscriber)
{
	struct topic *topic = subscriber->topic;

	if (!topic)
		return;
	struct subscriber *last = topic->subscribers[--topic->count];
	topic->subscribers[subscriber->index] = last;
	last->index = subscriber->index;
	*subscriber = (struct subscriber){0};
	if (topic->count == 0)
		remove_topic(subscriptions, topic);
}
