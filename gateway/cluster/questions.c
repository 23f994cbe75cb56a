/*
 * Questions between two threads, see questions.h. State: a place for each topic that is asked for,
 * which goes round the states below, and of which only one thread has each: so all of its content
 * passes with its state. Never blocks.
 */
#include "gateway/cluster/questions.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "shared/base/alloc.h"

enum place_state {
	FREE, /* the gateway's loop has it */
	ASKED, /* the thread has it, and so it does when it is TAKEN */
	TAKEN,
	ANSWERED /* the gateway's loop again */
};

struct place {
	_Atomic enum place_state state;
	size_t len;
	char topic[TOPIC_MAX_BYTES];
	LIST_HEAD(, question) waiting; /* the gateway's alone */
};

struct questions {
	uv_async_t *thread, *gateway;
	struct place places[QUESTIONS_MAX];
};

struct questions *questions_new(uv_async_t *thread, uv_async_t *gateway)
{
	struct questions *questions = xcalloc(1, sizeof(*questions));

	questions->thread = thread;
	questions->gateway = gateway;
	return questions;
}

void questions_free(struct questions *questions)
{
	free(questions);
}

/* Whoever wants what is being asked for already joins, unless it has been answered: that says how
 * things were before. */
bool questions_ask(struct questions *questions, const char *topic, size_t len,
		   struct question *question)
{
	struct place *place = NULL, *unused = NULL;

	for (size_t i = 0; i < QUESTIONS_MAX && !place; i++) {
		struct place *at = &questions->places[i];
		enum place_state state = at->state;

		if (state == FREE)
			unused = at;
		else if (state != ANSWERED && at->len == len && memcmp(at->topic, topic, len) == 0)
			place = at;
	}
	if (!place && !unused)
		return false;
	if (!place) {
		place = unused;
		place->len = len;
		memcpy(place->topic, topic, len);
		place->state = ASKED;
		uv_async_send(questions->thread);
	}
	LIST_INSERT_HEAD(&place->waiting, question, entry);
	question->is_open = true;
	return true;
}

void questions_drop(struct question *question)
{
	if (question->is_open)
		LIST_REMOVE(question, entry);
	question->is_open = false;
}

void questions_deliver(struct questions *questions)
{
	for (size_t i = 0; i < QUESTIONS_MAX; i++) {
		struct place *place = &questions->places[i];
		struct question *question;

		if (place->state != ANSWERED)
			continue;
		while ((question = LIST_FIRST(&place->waiting))) {
			questions_drop(question);
			question->answered(question);
		}
		place->state = FREE;
	}
}

static int find_asked(struct questions *questions)
{
	for (int i = 0; i < QUESTIONS_MAX; i++)
		if (questions->places[i].state == ASKED)
			return i;
	return -1;
}

bool questions_are_waiting(struct questions *questions)
{
	return find_asked(questions) >= 0;
}

int questions_take(struct questions *questions, char topic[TOPIC_MAX_BYTES], size_t *len)
{
	int number = find_asked(questions);

	if (number < 0)
		return -1;
	memcpy(topic, questions->places[number].topic, questions->places[number].len);
	*len = questions->places[number].len;
	questions->places[number].state = TAKEN;
	return number;
}

void questions_answer(struct questions *questions, int number)
{
	questions->places[number].state = ANSWERED;
	uv_async_send(questions->gateway);
}
