// needs: gateway/events/subscriptions.c
/*
 * Who listens to what, against a naive model by a fixed sequence of random steps. The build with
 * sanitizers finds what is used after it was freed.
 */
#include "tests/unit/gateway/events/subscriptions_fixture.h"

#include "shared/base/alloc.h"

static unsigned short random_state[3];

static size_t random_below(size_t limit)
{
	return (size_t)nrand48(random_state) % limit;
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
	size_t expected = 0;

	for (size_t i = 0; i < PEOPLE; i++) {
		if (model->topics[i] == number) {
			assert_non_null(topic);
			assert_ptr_equal(model->people[i].topic, topic);
			assert_true(model->people[i].index < topic->count);
			assert_ptr_equal(topic->subscribers[model->people[i].index],
					 &model->people[i]);
			expected++;
		}
	}
	assert_int_equal(topic ? topic->count : 0, expected);
	if (topic)
		assert_string_equal(topic->name, name);
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
	assert_int_equal(model->subscriptions->count, active);
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
		cmocka_unit_test(random_steps_agree_with_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
