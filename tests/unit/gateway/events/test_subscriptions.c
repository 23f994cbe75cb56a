// needs: gateway/events/subscriptions.c
/*
 * Who listens to what, sentence by sentence. The build with sanitizers finds what is used after it
 * was freed. What it costs is in test_subscriptions_cost.c, a long walk in
 * test_subscriptions_random.c.
 */
#include "tests/unit/gateway/events/subscriptions_fixture.h"

#include <stdbool.h>

#include "shared/base/alloc.h"

static void an_empty_one_knows_no_topic(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();

	(void)state;
	assert_int_equal(subscriptions->count, 0);
	assert_null(find(subscriptions, "a"));
	assert_null(find(subscriptions, ""));
	subscriptions_free(subscriptions);
}

static void who_has_joined_is_found_until_it_leaves(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber one = {0}, two = {0};
	struct subscriber *const *array;

	(void)state;
	add(subscriptions, &one, "qso");
	assert_ptr_equal(one.topic, find(subscriptions, "qso"));
	array = one.topic->subscribers;
	assert_int_equal(one.topic->count, 1);
	assert_ptr_equal(array[0], &one);

	add(subscriptions, &two, "qso");
	assert_ptr_equal(one.topic, two.topic);
	array = one.topic->subscribers;
	assert_int_equal(one.topic->count, 2);
	assert_ptr_equal(array[one.index], &one);
	assert_ptr_equal(array[two.index], &two);
	assert_int_equal(subscriptions->count, 1);

	subscriptions_remove(subscriptions, &one);
	assert_null(one.topic);
	array = two.topic->subscribers;
	assert_int_equal(two.topic->count, 1);
	assert_ptr_equal(array[0], &two);
	subscriptions_remove(subscriptions, &two);
	assert_null(find(subscriptions, "qso"));
	assert_int_equal(subscriptions->count, 0);
	subscriptions_free(subscriptions);
}

static void leaving_without_having_joined_does_nothing(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber one = {0}, two = {0};

	(void)state;
	subscriptions_remove(subscriptions, &one);
	add(subscriptions, &one, "a");
	add(subscriptions, &two, "a");
	subscriptions_remove(subscriptions, &one);
	subscriptions_remove(subscriptions, &one);
	assert_int_equal(count_of(find(subscriptions, "a")), 1);
	subscriptions_free(subscriptions);
}

static void who_has_left_may_join_another_topic(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber one = {0};

	(void)state;
	add(subscriptions, &one, "a");
	subscriptions_remove(subscriptions, &one);
	add(subscriptions, &one, "b");
	assert_null(find(subscriptions, "a"));
	assert_ptr_equal(find(subscriptions, "b"), one.topic);
	subscriptions_free(subscriptions);
}

static void names_are_compared_byte_by_byte(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} names[] = {{"a", 1},	  {"A", 1},	    {"a ", 2},	    {"ab", 2},	    {"a\0b", 3},
		     {"a\0c", 3}, {"a\0", 2},	    {"", 0},	    {"\0", 1},	    {"\xC3\xA9", 2},
		     {"\xC3", 1}, {"e\xCC\x81", 3}, {"aaaaaaa", 7}, {"aaaaaaaa", 8}};
	enum { NAMES = sizeof(names) / sizeof(names[0]) };
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber subscribers[NAMES] = {0};

	(void)state;
	for (size_t i = 0; i < NAMES; i++)
		subscriptions_add(subscriptions, &subscribers[i], names[i].bytes, names[i].len);
	assert_int_equal(subscriptions->count, NAMES);
	for (size_t i = 0; i < NAMES; i++)
		assert_ptr_equal(subscriptions_find(subscriptions, names[i].bytes, names[i].len),
				 subscribers[i].topic);
	assert_null(find(subscriptions, "aa"));
	subscriptions_free(subscriptions);
}

static void the_name_is_copied_and_ends_with_a_nul(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber one = {0}, two = {0};
	char *exact = xreallocarray(NULL, 3, 1);

	(void)state;
	memcpy(exact, "qso", 3);
	subscriptions_add(subscriptions, &one, exact, 3);
	subscriptions_add(subscriptions, &two, exact, 3);
	memcpy(exact, "xxx", 3);
	free(exact);
	assert_string_equal(one.topic->name, "qso");
	assert_int_equal(one.topic->name_len, 3);
	assert_ptr_equal(one.topic, two.topic);
	assert_ptr_equal(find(subscriptions, "qso"), one.topic);
	subscriptions_free(subscriptions);
}

static void a_topic_stays_where_it_is_while_others_come_and_go(void **state)
{
	enum { OTHERS = 5000 };
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber stays = {0};
	struct subscriber *others = xcalloc(OTHERS, sizeof(*others));
	char name[24];

	(void)state;
	add(subscriptions, &stays, "stays");
	struct topic *topic = stays.topic;
	for (size_t i = 0; i < OTHERS; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		add(subscriptions, &others[i], i % 2 ? name : "stays");
		assert_ptr_equal(find(subscriptions, "stays"), topic);
	}
	for (size_t i = 0; i < OTHERS; i++) {
		subscriptions_remove(subscriptions, &others[i]);
		assert_ptr_equal(find(subscriptions, "stays"), topic);
	}
	assert_int_equal(count_of(topic), 1);
	assert_string_equal(topic->name, "stays");
	free(others);
	subscriptions_free(subscriptions);
}

/* `leaves` says who leaves when it is its turn. */
static void walk(size_t crowd, bool (*leaves)(size_t number))
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber *subscribers = xcalloc(crowd, sizeof(*subscribers));
	size_t *visits = xcalloc(crowd, sizeof(*visits));
	size_t stayed = 0;

	for (size_t i = 0; i < crowd; i++)
		add(subscriptions, &subscribers[i], "crowd");
	struct topic *topic = find(subscriptions, "crowd");
	struct subscriber *const *array = topic->subscribers;
	size_t count = topic->count;
	assert_int_equal(count, crowd);
	for (size_t i = count; i-- > 0;) {
		struct subscriber *subscriber = array[i];
		size_t number = (size_t)(subscriber - subscribers);

		visits[number]++;
		if (leaves(number))
			subscriptions_remove(subscriptions, subscriber);
	}
	for (size_t i = 0; i < crowd; i++) {
		assert_int_equal(visits[i], 1);
		stayed += !leaves(i);
		assert_ptr_equal(subscribers[i].topic, leaves(i) ? NULL : topic);
	}
	if (stayed > 0)
		assert_ptr_equal(topic->subscribers, array); /* nobody joined */
	assert_int_equal(subscriptions->count, stayed > 0);
	subscriptions_free(subscriptions);
	free(visits);
	free(subscribers);
}

static bool everyone(size_t number)
{
	(void)number;
	return true;
}

static bool no_one(size_t number)
{
	(void)number;
	return false;
}

static bool every_other(size_t number)
{
	return number % 2 == 0;
}

static bool all_but_the_first(size_t number)
{
	return number > 0;
}

static void whoever_leaves_during_a_walk_all_are_visited_once(void **state)
{
	static const size_t crowds[] = {1, 2, 3, 4, 5, 8, 9, 100, 4097};

	(void)state;
	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
		walk(crowds[i], everyone);
		walk(crowds[i], no_one);
		walk(crowds[i], every_other);
		walk(crowds[i], all_but_the_first);
	}
}

static void freeing_leaves_the_subscribers_as_they_are(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber subscribers[100] = {0}, before[100];

	(void)state;
	for (size_t i = 0; i < 100; i++)
		add(subscriptions, &subscribers[i], i % 3 ? "some" : "others");
	memcpy(before, subscribers, sizeof(before));
	subscriptions_free(subscriptions);
	assert_memory_equal(before, subscribers, sizeof(before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_knows_no_topic),
		cmocka_unit_test(who_has_joined_is_found_until_it_leaves),
		cmocka_unit_test(leaving_without_having_joined_does_nothing),
		cmocka_unit_test(who_has_left_may_join_another_topic),
		cmocka_unit_test(names_are_compared_byte_by_byte),
		cmocka_unit_test(the_name_is_copied_and_ends_with_a_nul),
		cmocka_unit_test(a_topic_stays_where_it_is_while_others_come_and_go),
		cmocka_unit_test(whoever_leaves_during_a_walk_all_are_visited_once),
		cmocka_unit_test(freeing_leaves_the_subscribers_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
