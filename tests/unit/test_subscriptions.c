// needs: gateway/subscriptions.c
/*
 * Who listens to what: against a naive model, by a fixed sequence of random steps, and sentence by
 * sentence. The build with sanitizers finds what is used after it was freed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdbool.h>
#include <unistd.h>

#include "gateway/subscriptions.h"
#include "shared/alloc.h"

static unsigned short random_state[3];

static size_t random_below(size_t limit)
{
	return (size_t)nrand48(random_state) % limit;
}

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

static void add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		const char *name)
{
	subscriptions_add(subscriptions, subscriber, name, strlen(name));
}

static struct topic *find(const struct subscriptions *subscriptions, const char *name)
{
	return subscriptions_find(subscriptions, name, strlen(name));
}

static size_t count_of(const struct topic *topic)
{
	size_t count;

	topic_subscribers(topic, &count);
	return count;
}

static void an_empty_one_knows_no_topic(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();

	(void)state;
	assert_int_equal(subscriptions_topics(subscriptions), 0);
	assert_null(find(subscriptions, "a"));
	assert_null(find(subscriptions, ""));
	subscriptions_free(subscriptions);
	subscriptions_free(NULL);
}

static void who_has_joined_is_found_until_it_leaves(void **state)
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber one = {0}, two = {0};
	struct subscriber *const *array;
	size_t count;

	(void)state;
	add(subscriptions, &one, "qso");
	assert_ptr_equal(one.topic, find(subscriptions, "qso"));
	array = topic_subscribers(one.topic, &count);
	assert_int_equal(count, 1);
	assert_ptr_equal(array[0], &one);

	add(subscriptions, &two, "qso");
	assert_ptr_equal(one.topic, two.topic);
	array = topic_subscribers(one.topic, &count);
	assert_int_equal(count, 2);
	assert_ptr_equal(array[one.index], &one);
	assert_ptr_equal(array[two.index], &two);
	assert_int_equal(subscriptions_topics(subscriptions), 1);

	subscriptions_remove(subscriptions, &one);
	assert_null(one.topic);
	array = topic_subscribers(two.topic, &count);
	assert_int_equal(count, 1);
	assert_ptr_equal(array[0], &two);
	subscriptions_remove(subscriptions, &two);
	assert_null(find(subscriptions, "qso"));
	assert_int_equal(subscriptions_topics(subscriptions), 0);
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
	assert_int_equal(subscriptions_topics(subscriptions), NAMES);
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
	size_t len = 99;

	(void)state;
	memcpy(exact, "qso", 3);
	subscriptions_add(subscriptions, &one, exact, 3);
	subscriptions_add(subscriptions, &two, exact, 3);
	memcpy(exact, "xxx", 3);
	free(exact);
	assert_string_equal(topic_name(one.topic, &len), "qso");
	assert_int_equal(len, 3);
	assert_ptr_equal(topic_name(one.topic, &len), topic_name(two.topic, &len));
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
	assert_string_equal(topic_name(topic, &(size_t){0}), "stays");
	free(others);
	subscriptions_free(subscriptions);
}

/* `leaves` says who leaves when it is its turn. */
static void walk(size_t crowd, bool (*leaves)(size_t number))
{
	struct subscriptions *subscriptions = subscriptions_new();
	struct subscriber *subscribers = xcalloc(crowd, sizeof(*subscribers));
	size_t *visits = xcalloc(crowd, sizeof(*visits));
	size_t count, stayed = 0;

	for (size_t i = 0; i < crowd; i++)
		add(subscriptions, &subscribers[i], "crowd");
	struct topic *topic = find(subscriptions, "crowd");
	struct subscriber *const *array = topic_subscribers(topic, &count);
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
		assert_ptr_equal(topic_subscribers(topic, &count), array); /* nobody joined */
	assert_int_equal(subscriptions_topics(subscriptions), stayed > 0);
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
	assert_int_equal(subscriptions_topics(subscriptions), 0);
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
	assert_ptr_equal(topic_subscribers(late.topic, &(size_t){0})[2], &late);
	subscriptions_free(subscriptions);
	free(crowd);
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

/* Walks where there should be jumps would take minutes. */
static void a_hundred_thousand_topics_and_as_many_in_one_are_no_burden(void **state)
{
	enum { MANY = 100000 };
	struct subscriber *subscribers = xcalloc(2 * MANY, sizeof(*subscribers));
	struct subscriptions *subscriptions = subscriptions_new();
	size_t len;

	(void)state;
	alarm(30);
	fill(subscriptions, subscribers, MANY);
	for (size_t i = MANY; i < 2 * MANY; i++)
		add(subscriptions, &subscribers[i], "crowd");
	assert_int_equal(subscriptions_topics(subscriptions), MANY + 1);
	for (size_t i = 0; i < MANY; i++) {
		const char *name = topic_name(subscribers[i].topic, &len);

		assert_ptr_equal(subscriptions_find(subscriptions, name, len),
				 subscribers[i].topic);
		assert_int_equal(count_of(subscribers[i].topic), 1);
	}
	for (size_t i = 0; i < 2 * MANY; i++)
		subscriptions_remove(subscriptions, &subscribers[i]);
	alarm(0);
	subscriptions_free(subscriptions);
	free(subscribers);
}

/* The model: which topic each one listens to, -1 for none. */
enum { PEOPLE = 600, TOPICS = 150 };

struct model {
	struct subscriptions *subscriptions;
	struct subscriber people[PEOPLE];
	int topics[PEOPLE];
	char names[TOPICS][8];
};

static void check_topic(const struct model *model, int number)
{
	const char *name = model->names[number];
	struct topic *topic = find(model->subscriptions, name);
	struct subscriber *const *array;
	size_t expected = 0, count = 0, len;

	for (size_t i = 0; i < PEOPLE; i++) {
		if (model->topics[i] == number) {
			assert_non_null(topic);
			assert_ptr_equal(model->people[i].topic, topic);
			array = topic_subscribers(topic, &count);
			assert_true(model->people[i].index < count);
			assert_ptr_equal(array[model->people[i].index], &model->people[i]);
			expected++;
		}
	}
	assert_int_equal(count, expected);
	if (expected == 0)
		assert_null(topic);
	else
		assert_string_equal(topic_name(topic, &len), name);
}

static void check_all(const struct model *model)
{
	size_t active = 0;

	for (int number = 0; number < TOPICS; number++) {
		check_topic(model, number);
		active += find(model->subscriptions, model->names[number]) != NULL;
	}
	for (size_t i = 0; i < PEOPLE; i++)
		assert_true((model->people[i].topic == NULL) == (model->topics[i] < 0));
	assert_int_equal(subscriptions_topics(model->subscriptions), active);
}

/* Low numbers are the popular ones; `mood` says whether people rather come or go. */
static void random_step(struct model *model, size_t mood)
{
	size_t person = random_below(PEOPLE);
	int was = model->topics[person];

	if (was >= 0 && random_below(10) < mood) {
		subscriptions_remove(model->subscriptions, &model->people[person]);
		model->topics[person] = -1;
		check_topic(model, was);
	} else if (was < 0 && random_below(10) >= mood) {
		int topic = (int)random_below(1 + random_below(TOPICS));

		add(model->subscriptions, &model->people[person], model->names[topic]);
		model->topics[person] = topic;
		check_topic(model, topic);
	}
}

static void random_steps_agree_with_a_naive_model(void **state)
{
	struct model *model = xcalloc(1, sizeof(*model));

	(void)state;
	random_state[0] = 1973;
	model->subscriptions = subscriptions_new();
	for (size_t i = 0; i < PEOPLE; i++)
		model->topics[i] = -1;
	for (size_t i = 0; i < TOPICS; i++)
		snprintf(model->names[i], sizeof(model->names[i]), "t%zu", i);
	for (size_t step = 0; step < 200000; step++) {
		random_step(model, step / 2000 % 9 + 1);
		if (step % 500 == 0)
			check_all(model);
	}
	check_all(model);
	subscriptions_free(model->subscriptions);
	free(model);
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
		cmocka_unit_test(a_topic_of_one_costs_a_hundred_bytes_and_its_name),
		cmocka_unit_test(a_topic_without_subscribers_takes_no_memory),
		cmocka_unit_test(a_crowd_that_has_left_gives_its_memory_back_when_somebody_joins),
		cmocka_unit_test(freeing_leaves_the_subscribers_as_they_are),
		cmocka_unit_test(a_hundred_thousand_topics_and_as_many_in_one_are_no_burden),
		cmocka_unit_test(random_steps_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
