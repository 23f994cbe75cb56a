/*
 * Topic -> subscribers, see subscriptions.h. State: a table of chained topics that doubles when it
 * is full and halves when three quarters of it are empty. Called by sessions that come and go and
 * by every event; never blocks.
 *
 * Names come from outside, so they are hashed under a random key (siphash.h). A topic with a single
 * subscriber, the common case, is one allocation of about 70 bytes plus the name.
 */
#include "gateway/events/subscriptions.h"

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/alloc.h"
#include "shared/base/siphash.h"

enum { FEWEST_BUCKETS = 16, FIRST_CAPACITY = 4 };

struct topic {
	struct topic *next; /* in its bucket */
	uint64_t hash;
	struct subscriber **subscribers; /* &only, or an array of its own */
	struct subscriber *only;
	size_t count, capacity;
	struct batch *batch;
	size_t name_len;
	char name[]; /* and a NUL */
};

struct subscriptions {
	unsigned char key[SIPHASH_KEY_SIZE];
	struct topic **buckets;
	size_t bucket_count; /* a power of two */
	size_t topic_count;
};

struct subscriptions *subscriptions_new(void)
{
	struct subscriptions *subscriptions = xcalloc(1, sizeof(*subscriptions));

	xrandom(subscriptions->key, sizeof(subscriptions->key));
	subscriptions->bucket_count = FEWEST_BUCKETS;
	subscriptions->buckets = xcalloc(FEWEST_BUCKETS, sizeof(struct topic *));
	return subscriptions;
}

static void free_topic(struct topic *topic)
{
	if (topic->subscribers != &topic->only)
		free(topic->subscribers);
	free(topic);
}

void subscriptions_free(struct subscriptions *subscriptions)
{
	if (!subscriptions)
		return;
	for (size_t i = 0; i < subscriptions->bucket_count; i++) {
		while (subscriptions->buckets[i]) {
			struct topic *topic = subscriptions->buckets[i];

			subscriptions->buckets[i] = topic->next;
			free_topic(topic);
		}
	}
	free(subscriptions->buckets);
	free(subscriptions);
}

static struct topic **bucket_of(const struct subscriptions *subscriptions, uint64_t hash)
{
	return &subscriptions->buckets[hash & (subscriptions->bucket_count - 1)];
}

static void link_topic(struct subscriptions *subscriptions, struct topic *topic)
{
	struct topic **bucket = bucket_of(subscriptions, topic->hash);

	topic->next = *bucket;
	*bucket = topic;
}

static void resize_table(struct subscriptions *subscriptions, size_t bucket_count)
{
	struct topic **old = subscriptions->buckets;
	size_t old_count = subscriptions->bucket_count;

	subscriptions->buckets = xcalloc(bucket_count, sizeof(struct topic *));
	subscriptions->bucket_count = bucket_count;
	for (size_t i = 0; i < old_count; i++) {
		struct topic *next;

		for (struct topic *topic = old[i]; topic; topic = next) {
			next = topic->next;
			link_topic(subscriptions, topic);
		}
	}
	free(old);
}

static struct topic *find(const struct subscriptions *subscriptions, uint64_t hash,
			  const char *name, size_t len)
{
	struct topic *topic = *bucket_of(subscriptions, hash);

	while (topic && (topic->hash != hash || topic->name_len != len ||
			 memcmp(topic->name, name, len) != 0))
		topic = topic->next;
	return topic;
}

static struct topic *add_topic(struct subscriptions *subscriptions, uint64_t hash, const char *name,
			       size_t len)
{
	struct topic *topic = xcalloc(1, sizeof(*topic) + len + 1);

	topic->hash = hash;
	topic->subscribers = &topic->only;
	topic->capacity = 1;
	topic->name_len = len;
	memcpy(topic->name, name, len);
	if (subscriptions->topic_count == subscriptions->bucket_count)
		resize_table(subscriptions, subscriptions->bucket_count * 2);
	link_topic(subscriptions, topic);
	subscriptions->topic_count++;
	return topic;
}

static void remove_topic(struct subscriptions *subscriptions, struct topic *topic)
{
	struct topic **link = bucket_of(subscriptions, topic->hash);

	while (*link != topic)
		link = &(*link)->next;
	*link = topic->next;
	free_topic(topic);
	subscriptions->topic_count--;
	if (subscriptions->bucket_count > FEWEST_BUCKETS &&
	    subscriptions->topic_count < subscriptions->bucket_count / 4)
		resize_table(subscriptions, subscriptions->bucket_count / 2);
}

/* Makes room for one more. This is also the time to give back what a crowd needed that has left:
 * not when they leave, for then somebody may be walking the array. */
static void make_room(struct topic *topic)
{
	bool is_full = topic->count == topic->capacity;
	bool is_empty = topic->capacity > FIRST_CAPACITY && topic->count < topic->capacity / 4;

	if (!is_full && !is_empty)
		return;

	bool has_array = topic->subscribers != &topic->only;
	size_t capacity = topic->count < FIRST_CAPACITY / 2 ? FIRST_CAPACITY : topic->count * 2;
	struct subscriber **array = xreallocarray(has_array ? topic->subscribers : NULL, capacity,
						  sizeof(struct subscriber *));
	if (!has_array)
		array[0] = topic->only;
	topic->subscribers = array;
	topic->capacity = capacity;
}

void subscriptions_add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		       const char *topic_bytes, size_t len)
{
	uint64_t hash = siphash(subscriptions->key, topic_bytes, len);
	struct topic *topic = find(subscriptions, hash, topic_bytes, len);

	if (topic)
		make_room(topic);
	else
		topic = add_topic(subscriptions, hash, topic_bytes, len);
	subscriber->topic = topic;
	subscriber->index = topic->count;
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

struct topic *subscriptions_find(const struct subscriptions *subscriptions, const char *topic,
				 size_t len)
{
	return find(subscriptions, siphash(subscriptions->key, topic, len), topic, len);
}

size_t subscriptions_topics(const struct subscriptions *subscriptions)
{
	return subscriptions->topic_count;
}

struct subscriber *const *topic_subscribers(const struct topic *topic, size_t *count)
{
	*count = topic->count;
	return topic->subscribers;
}

struct batch **topic_batch(struct topic *topic)
{
	return &topic->batch;
}

const char *topic_name(const struct topic *topic, size_t *len)
{
	*len = topic->name_len;
	return topic->name;
}
