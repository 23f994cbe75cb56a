/*
 * Questions between two threads, see questions.h. State: a place for each topic that is asked for,
 * which goes round the states below. Never blocks.
 */
#include "gateway/cluster/questions.h"

#include <pthread.h>
#include <string.h>
#include <uv.h>

#include "shared/base/alloc.h"

enum place_state {
	FREE,
	ASKED, /* by the gateway's loop, which may add to `waiting` now */
	TAKEN, /* by the thread; `waiting` may still grow */
	ANSWERED, /* by the thread: too late to join, for it says how things were */
	DELIVERED /* to those who wait, one after another */
};

struct place {
	enum place_state state; /* under the mutex; all else is written while it is FREE */
	size_t len;
	char topic[TOPIC_MAX_BYTES];
	LIST_HEAD(, question) waiting; /* the gateway's alone */
};

struct questions {
	uv_async_t *thread, *gateway;
	pthread_mutex_t mutex;
	struct place places[QUESTIONS_MAX];
};

struct questions *questions_new(uv_async_t *thread, uv_async_t *gateway)
{
	struct questions *questions = xcalloc(1, sizeof(*questions));

	questions->thread = thread;
	questions->gateway = gateway;
	pthread_mutex_init(&questions->mutex, NULL);
	return questions;
}

void questions_free(struct questions *questions)
{
	if (!questions)
		return;
	pthread_mutex_destroy(&questions->mutex);
	free(questions);
}

/* Where that topic is being asked for, or can be; NULL when all places are taken. */
static struct place *place_for(struct questions *questions, const char *topic, size_t len)
{
	struct place *unused = NULL;

	for (size_t i = 0; i < QUESTIONS_MAX; i++) {
		struct place *place = &questions->places[i];

		if (place->state == FREE)
			unused = place;
		else if (place->state <= TAKEN && place->len == len &&
			 memcmp(place->topic, topic, len) == 0)
			return place;
	}
	return unused;
}

bool questions_ask(struct questions *questions, const char *topic, size_t len,
		   struct question *question)
{
	struct place *place;
	bool is_new;

	pthread_mutex_lock(&questions->mutex);
	place = place_for(questions, topic, len);
	is_new = place && place->state == FREE;
	if (is_new) {
		place->state = ASKED;
		place->len = len;
		memcpy(place->topic, topic, len);
	}
	pthread_mutex_unlock(&questions->mutex);
	if (!place)
		return false;
	LIST_INSERT_HEAD(&place->waiting, question, entry);
	question->is_open = true;
	if (is_new)
		uv_async_send(questions->thread);
	return true;
}

void questions_drop(struct question *question)
{
	if (question->is_open)
		LIST_REMOVE(question, entry);
	question->is_open = false;
}

/* The first place that was in the one state and is in the other now; NULL: none was. */
static struct place *move_first(struct questions *questions, enum place_state from,
				enum place_state to)
{
	struct place *place = NULL;

	pthread_mutex_lock(&questions->mutex);
	for (size_t i = 0; i < QUESTIONS_MAX && !place; i++)
		if (questions->places[i].state == from)
			place = &questions->places[i];
	if (place)
		place->state = to;
	pthread_mutex_unlock(&questions->mutex);
	return place;
}

static void set_state(struct questions *questions, struct place *place, enum place_state state)
{
	pthread_mutex_lock(&questions->mutex);
	place->state = state;
	pthread_mutex_unlock(&questions->mutex);
}

void questions_deliver(struct questions *questions)
{
	struct question *question;
	struct place *place;

	while ((place = move_first(questions, ANSWERED, DELIVERED))) {
		while ((question = LIST_FIRST(&place->waiting))) {
			questions_drop(question);
			question->answered(question);
		}
		set_state(questions, place, FREE);
	}
}

bool questions_are_waiting(struct questions *questions)
{
	bool is_any = false;

	pthread_mutex_lock(&questions->mutex);
	for (size_t i = 0; i < QUESTIONS_MAX && !is_any; i++)
		is_any = questions->places[i].state == ASKED;
	pthread_mutex_unlock(&questions->mutex);
	return is_any;
}

int questions_take(struct questions *questions, char topic[TOPIC_MAX_BYTES], size_t *len)
{
	struct place *place = move_first(questions, ASKED, TAKEN);

	if (!place)
		return -1;
	memcpy(topic, place->topic, place->len);
	*len = place->len;
	return (int)(place - questions->places);
}

void questions_answer(struct questions *questions, int number)
{
	set_state(questions, &questions->places[number], ANSWERED);
	uv_async_send(questions->gateway);
}
