// needs: gateway/cluster/questions.c
// links: uv
/*
 * Questions between two threads: each is answered once or dropped, a topic that several want is
 * asked for once, and there is an end to how many. The last test has both threads run, for the
 * build with TSan.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <uv.h>

#include "gateway/cluster/questions.h"
#include "shared/base/container_of.h"

static uv_loop_t loop;
static uv_async_t thread, gateway;
static struct questions *questions;

struct asker {
	struct question question;
	int answers;
	struct asker *drops; /* another one, when it is answered */
};

static void on_answered(struct question *question)
{
	struct asker *asker = container_of(question, struct asker, question);

	asker->answers++;
	if (asker->drops)
		questions_drop(&asker->drops->question);
}

static bool ask(struct asker *asker, const char *topic)
{
	asker->question.answered = on_answered;
	return questions_ask(questions, topic, strlen(topic), &asker->question);
}

/* The number of the next question, which is about this topic. */
static int take(const char *topic)
{
	char name[TOPIC_MAX_BYTES];
	size_t len = 0;
	int number = questions_take(questions, name, &len);

	if (number >= 0) {
		assert_int_equal(len, strlen(topic));
		assert_memory_equal(name, topic, len);
	}
	return number;
}

static void on_wake(uv_async_t *async)
{
	(void)async;
}

static int setup(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	uv_async_init(&loop, &thread, on_wake);
	uv_async_init(&loop, &gateway, on_wake);
	questions = questions_new(&thread, &gateway);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uv_close((uv_handle_t *)&thread, NULL);
	uv_close((uv_handle_t *)&gateway, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	questions_free(questions);
	questions_free(NULL);
	return 0;
}

static void all_who_want_a_topic_are_answered_once(void **state)
{
	struct asker first = {0}, second = {0}, other = {0}, late = {0};
	int number, other_number;

	(void)state;
	assert_false(questions_are_waiting(questions));
	assert_true(ask(&first, "a") && questions_are_waiting(questions));
	number = take("a");
	assert_true(ask(&second, "a")); /* it is being looked for already */
	assert_true(ask(&other, "ab"));
	other_number = take("ab");
	assert_int_equal(take(""), -1);
	assert_false(questions_are_waiting(questions));

	questions_answer(questions, number);
	assert_true(ask(&late, "a")); /* the answer says how things were before */
	questions_deliver(questions);
	questions_deliver(questions);
	assert_int_equal(first.answers + second.answers * 10 + other.answers * 100, 11);
	assert_int_equal(late.answers, 0);
	assert_false(first.question.is_open);
	questions_answer(questions, other_number);
	number = take("a");
	assert_true(number >= 0);
	questions_answer(questions, number);
	questions_deliver(questions);
	assert_int_equal(other.answers + late.answers * 10, 11);
}

static void who_has_gone_is_not_answered(void **state)
{
	struct asker gone = {0}, stays = {0}, dropped = {0}, drops = {.drops = &dropped};

	(void)state;
	questions_drop(&gone.question);
	assert_true(ask(&stays, "a") && ask(&gone, "a"));
	assert_true(ask(&dropped, "a") && ask(&drops, "a"));
	questions_drop(&gone.question);
	questions_drop(&gone.question);
	questions_answer(questions, take("a"));
	questions_deliver(questions); /* the last one first */
	assert_int_equal(gone.answers + stays.answers * 10 + drops.answers * 100, 110);
	assert_int_equal(dropped.answers, 0);
}

static void too_many_topics_are_not_asked_for(void **state)
{
	static struct asker askers[QUESTIONS_MAX + 1];
	struct asker joins = {0};
	char topic[16];

	(void)state;
	for (int i = 0; i <= QUESTIONS_MAX; i++) {
		snprintf(topic, sizeof(topic), "%d", i);
		assert_int_equal(ask(&askers[i], topic), i < QUESTIONS_MAX);
	}
	assert_false(askers[QUESTIONS_MAX].question.is_open);
	assert_true(ask(&joins, "7"));
	while (questions_are_waiting(questions)) {
		char name[TOPIC_MAX_BYTES];
		size_t len;

		questions_answer(questions, questions_take(questions, name, &len));
	}
	assert_false(ask(&askers[QUESTIONS_MAX], "one more")); /* not heard yet */
	questions_deliver(questions);
	assert_int_equal(joins.answers, 1);
	for (int i = 0; i < QUESTIONS_MAX; i++)
		assert_int_equal(askers[i].answers, 1);
	assert_true(ask(&askers[QUESTIONS_MAX], "one more"));
	questions_drop(&askers[QUESTIONS_MAX].question);
}

enum { ROUNDS = 1000, TOGETHER = 50 };

static void *answer_all(void *argument)
{
	char topic[TOPIC_MAX_BYTES];
	size_t len;
	int answered = 0;

	while (answered < ROUNDS) {
		int number = questions_take(questions, topic, &len);

		if (number < 0) {
			sched_yield();
			continue;
		}
		answered += len == 1 && topic[0] == 'x';
		questions_answer(questions, number);
	}
	return argument;
}

static void two_threads_agree(void **state)
{
	struct asker asker = {0}, crowd[TOGETHER] = {0};
	pthread_t id;

	(void)state;
	assert_int_equal(pthread_create(&id, NULL, answer_all, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		char name[2] = {(char)('A' + i % TOGETHER), '\0'};
		struct asker *other = &crowd[i % TOGETHER];

		questions_drop(&other->question);
		assert_true(ask(other, name));
		assert_true(ask(&asker, "x"));
		while (asker.question.is_open) {
			questions_deliver(questions);
			sched_yield();
		}
		assert_int_equal(asker.answers, i + 1);
	}
	pthread_join(id, NULL);
	for (size_t i = 0; i < TOGETHER; i++)
		questions_drop(&crowd[i].question);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_who_want_a_topic_are_answered_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_has_gone_is_not_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_topics_are_not_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(two_threads_agree, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
