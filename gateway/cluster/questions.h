/*
 * Topics that a browser names and this node does not know: whether Redis knows them. The gateway's
 * loop asks, the cluster's thread looks and, if so, has the topic in the database before it
 * answers. Neither waits for the other. A topic that several want at once is asked for once.
 */
#ifndef GATEWAY_QUESTIONS_H
#define GATEWAY_QUESTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "shared/contract/topic_name.h"

/* Topics that are asked for at a time. */
enum { QUESTIONS_MAX = 256 };

struct questions;
struct uv_async_s;

/* Embedded in whatever waits; zeroed before its first use. */
struct question {
	void (*answered)(struct question *question); /* the database knows now, if anybody does */
	LIST_ENTRY(question) entry;
	bool is_open;
};

/* The asyncs are borrowed: the first one wakes the thread, and the other the gateway's loop, where
 * questions_deliver is then called. */
struct questions *questions_new(struct uv_async_s *thread, struct uv_async_s *gateway);

/* When neither will call again; what is open is not answered. NULL is allowed. */
void questions_free(struct questions *questions);

/* On the gateway's loop. False when too many topics are being asked for: there will be no answer.
 * The topic is valid and copied. */
bool questions_ask(struct questions *questions, const char *topic, size_t len,
		   struct question *question);

/* On the gateway's loop: there will be no answer. Does nothing when the question is not open. */
void questions_drop(struct question *question);

/* On the gateway's loop: calls those that have their answer. */
void questions_deliver(struct questions *questions);

/* On the thread: whether there is one to take. */
bool questions_are_waiting(struct questions *questions);

/* On the thread: the next topic to look for, and the number to answer it by; -1: there is none. */
int questions_take(struct questions *questions, char topic[TOPIC_MAX_BYTES], size_t *len);
void questions_answer(struct questions *questions, int number);

#endif
