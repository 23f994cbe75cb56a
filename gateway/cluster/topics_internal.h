/*
 * What topics.c, which decides what to look at, and topic_tasks.c, which asks Redis and writes what
 * it answers, have in common.
 */
#ifndef GATEWAY_TOPICS_INTERNAL_H
#define GATEWAY_TOPICS_INTERNAL_H

#include <sys/queue.h>
#include <uv.h>

#include "gateway/cluster/topic_rows.h"
#include "shared/base/log_repeat.h"

#define TOPIC_KEY "wavelog:topic:"

enum comparing { ALL_COMPARED, TOPICS_HERE, KEYS_THERE };

struct topics {
	struct cluster *cluster;
	struct topic_rows *rows;
	struct redis *redis; /* can be asked: the link's, or the asker; NULL: none */
	STAILQ_HEAD(, task) tasks;
	size_t task_count, tell_count; /* of all; of those that set keys */
	uv_timer_t apply;
	void (*on_done)(struct topics *topics); /* some tasks have been done */
	struct log_repeat too_many;
	bool was_full; /* some topics are not known here that could be by now */

	bool may_tell; /* topics may be to relay */
	int64_t status_told_ms;
	int64_t lost_ms; /* the link, by whichever process; wall clock */
	enum comparing comparing;
	bool must_compare; /* when this is over, once more */
	bool is_scanning; /* SCAN has been asked */
	struct topic_row walked; /* the last topic here that was looked at */
	char cursor[24]; /* of SCAN */
	int64_t compared_ms;

	struct dial *dial; /* of a process that is not the relay: while it connects */
	struct redis *asker; /* then; nobody tells it of changes */
	int64_t asker_began_ms;
};

/* The row follows the key; then the question is answered, if it is not -1. */
void topic_look(struct topics *topics, const char *topic, size_t len, int question);

/* The key follows the row, which comes from topic_rows_to_relay. */
void topic_tell(struct topics *topics, const struct topic_row *row);

/* The relay's: the key of worker.status is made or kept alive. */
void topic_tell_status(struct topics *topics);

/* Redis has more topics than max_topics allows. */
void topics_note_full(struct topics *topics);

/* Redis cannot be asked any more: nothing comes of what was, and questions are answered. */
void topic_tasks_end(struct topics *topics);

#endif
