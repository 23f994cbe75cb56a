// needs: gateway/events/subscriptions.c
/*
 * What it costs to know who listens to what: the memory of a topic, that it comes back when nobody
 * is there any more, and that a large number of either takes no time.
 */
#include "tests/unit/gateway/events/subscriptions_fixture.h"

#include <malloc.h>
#include <unistd.h>

#include "shared/base/alloc.h"

/* The sanitizer's allocator; its header does not come with every compiler. */
size_t __sanitizer_get_current_allocated_bytes(void);

static size_t bytes_in_use(void)
{
#ifdef __SANITIZE_ADDRESS__
	return __sanitizer_get_current_allocated_bytes();
#else
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
#endif
}

static void fill(struct subscriptions *subscriptions, struct subscriber *subscribers, size_t count)
{
	char name[48];

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "topic/of/twenty/%04zu", i);
		add(subscriptions, &subscribers[i], name);
	}
}

static void a_topic_of_one_costs_a_hundred_bytes_and_its_name(void **state)
{
	enum { TOPICS = 10000, NAME_LEN = 20 };
	struct subscriber *subscribers = xcalloc(TOPICS, sizeof(*subscribers));
	size_t before = bytes_in_use();
	struct subscriptions *subscriptions = subscriptions_new();

	(void)state;
	fill(subscriptions, subscribers, TOPICS);
	size_t each = (bytes_in_use() - before) / TOPICS - NAME_LEN;
	if (each > 100)
		fail_msg("%zu bytes", each);
	subscriptions_free(subscriptions);
	free(subscribers);
}

static void a_topic_without_subscribers_takes_no_memory(void **state)
{
	enum { SUBSCRIBERS = 20000, SLACK = 16384 }; /* what malloc keeps at hand for itself */
	struct subscriber *subscribers = xcalloc(SUBSCRIBERS, sizeof(*subscribers));
	struct subscriptions *subscriptions = subscriptions_new();
	size_t before = bytes_in_use();

	(void)state;
	fill(subscriptions, subscribers, SUBSCRIBERS / 2);
	for (size_t i = SUBSCRIBERS / 2; i < SUBSCRIBERS; i++)
		add(subscriptions, &subscribers[i], "crowd");
	assert_true(bytes_in_use() > before + SUBSCRIBERS * sizeof(void *));
	for (size_t i = 0; i < SUBSCRIBERS; i++)
		subscriptions_remove(subscriptions, &subscribers[i]);
	assert_int_equal(subscriptions->count, 0);
	assert_true(bytes_in_use() < before + SLACK);
	subscriptions_free(subscriptions);
	free(subscribers);
}

static void a_crowd_that_has_left_gives_its_memory_back_when_somebody_joins(void **state)
{
	enum { CROWD = 20000, SLACK = 16384 };
	struct subscriber *crowd = xcalloc(CROWD, sizeof(*crowd));
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber late = {0};
	size_t before = bytes_in_use();

	(void)state;
	for (size_t i = 0; i < CROWD; i++)
		add(subscriptions, &crowd[i], "crowd");
	for (size_t i = 2; i < CROWD; i++)
		subscriptions_remove(subscriptions, &crowd[i]);
	add(subscriptions, &late, "crowd");
	assert_true(bytes_in_use() < before + SLACK);
	assert_int_equal(count_of(late.topic), 3);
	assert_ptr_equal(late.topic->subscribers[2], &late);
	subscriptions_free(subscriptions);
	free(crowd);
}

/* Walks where there should be jumps would take minutes. */
static void a_hundred_thousand_topics_and_as_many_in_one_are_no_burden(void **state)
{
	enum { MANY = 100000 };
	struct subscriber *subscribers = xcalloc(2 * MANY, sizeof(*subscribers));
	struct subscriptions *subscriptions = subscriptions_new();

	(void)state;
	alarm(30);
	fill(subscriptions, subscribers, MANY);
	for (size_t i = MANY; i < 2 * MANY; i++)
		add(subscriptions, &subscribers[i], "crowd");
	assert_int_equal(subscriptions->count, MANY + 1);
	for (size_t i = 0; i < MANY; i++) {
		struct topic *topic = subscribers[i].topic;

		assert_ptr_equal(subscriptions_find(subscriptions, topic->name, topic->name_len),
				 topic);
		assert_int_equal(count_of(subscribers[i].topic), 1);
	}
	for (size_t i = 0; i < 2 * MANY; i++)
		subscriptions_remove(subscriptions, &subscribers[i]);
	alarm(0);
	subscriptions_free(subscriptions);
	free(subscribers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_topic_of_one_costs_a_hundred_bytes_and_its_name),
		cmocka_unit_test(a_topic_without_subscribers_takes_no_memory),
		cmocka_unit_test(a_crowd_that_has_left_gives_its_memory_back_when_somebody_joins),
		cmocka_unit_test(a_hundred_thousand_topics_and_as_many_in_one_are_no_burden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
