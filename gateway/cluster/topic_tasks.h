/*
 * What is asked of Redis about topics, and what the database is told of the answers: in the order
 * in which it was asked, so that the last word here is the last word there.
 */
#ifndef GATEWAY_TOPIC_TASKS_H
#define GATEWAY_TOPIC_TASKS_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/cluster/topic_rows.h"

#define TOPIC_KEY "wavelog:topic:"

struct cluster;
struct redis;
struct topic_tasks;

/* `on_done` is called when some have been done. The other pointers are borrowed. */
struct topic_tasks *topic_tasks_new(struct cluster *cluster, struct topic_rows *rows,
				    void (*on_done)(void *context), void *context);

/* The memory is freed after the loop's next turn. NULL is allowed. */
void topic_tasks_free(struct topic_tasks *tasks);

/* Redis can be asked from now on. `is_relay`: by the process that relays. */
void topic_tasks_begin(struct topic_tasks *tasks, struct redis *redis, bool is_relay);

/* It cannot any more: nothing comes of what was asked, and questions are answered. */
void topic_tasks_end(struct topic_tasks *tasks);

/* Between these two: how many there are, and whether keys are being set among them. */
size_t topic_tasks_count(const struct topic_tasks *tasks);
bool topic_tasks_are_telling(const struct topic_tasks *tasks);

/* The row follows the key; then the question is answered, if it is not -1. */
void topic_tasks_look(struct topic_tasks *tasks, const char *topic, size_t len, int question);

/* The key follows the row, which comes from topic_rows_to_relay. */
void topic_tasks_tell(struct topic_tasks *tasks, const struct topic_row *row);

/* The key of worker.status is made or kept alive. */
void topic_tasks_tell_status(struct topic_tasks *tasks);

/* Redis has more topics than max_topics allows: for the log. */
void topic_tasks_note_full(struct topic_tasks *tasks);

/* Whether it had, since the last call: then some are not known here that could be by now. */
bool topic_tasks_were_full(struct topic_tasks *tasks);

void topic_tasks_on_tick(struct topic_tasks *tasks);

#endif
