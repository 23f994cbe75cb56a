/*
 * Asking Redis about topics, see topics_internal.h. State: a queue of tasks, in the order in which
 * they were asked, which is the order of the answers. Never blocks, but for the database's write
 * lock, a moment at a time: when that cannot be had, the same is tried again, and no more is asked
 * for.
 */
#include "gateway/cluster/topics_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/envelope.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/questions.h"
#include "gateway/cluster/redis.h"
#include "gateway/cluster/refused.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	BATCH = 64, /* rows in a transaction */
	RETRY_MS = 50, /* the database could not be written */
	STATUS_TTL_MS = 3600000 /* of the key of worker.status */
};

struct task {
	STAILQ_ENTRY(task) entry;
	struct topics *owner;
	bool is_tell; /* what the row says, the key is told; else the row is to say what it says */
	bool is_answered;
	bool is_void; /* by an answer that says nothing: nothing is written */
	bool is_to_write;
	int question; /* -1: nobody waits */
	struct topic_row row;
};

static void on_apply(uv_timer_t *timer);

/* In the loop's next turn, when more answers may be there; a retry is not hastened. */
static void apply_soon(struct topics *topics, uint64_t after_ms)
{
	if (!uv_is_active((uv_handle_t *)&topics->apply))
		uv_timer_start(&topics->apply, on_apply, after_ms, 0);
}

/* Of the first one. */
static void remove_task(struct topics *topics)
{
	struct task *task = STAILQ_FIRST(&topics->tasks);

	STAILQ_REMOVE_HEAD(&topics->tasks, entry);
	topics->task_count--;
	topics->tell_count -= task->is_tell;
	if (task->question >= 0)
		questions_answer(topics->cluster->questions, task->question);
	free(task);
}

static struct task *add_task(struct topics *topics, bool is_tell, int question)
{
	struct task *task = xcalloc(1, sizeof(*task));

	task->owner = topics;
	task->is_tell = is_tell;
	task->question = question;
	STAILQ_INSERT_TAIL(&topics->tasks, task, entry);
	topics->task_count++;
	topics->tell_count += is_tell;
	return task;
}

static void note_answered(struct task *task)
{
	task->is_answered = true;
	apply_soon(task->owner, 0);
}

/* An error that says nothing about the topic. The relay's link is dropped, and says why: then the
 * task is gone, and false comes back. */
static bool outlives(struct task *task, const redisReply *error)
{
	struct topics *topics = task->owner;

	task->is_void = true;
	if (!topics->asker)
		link_refuse(topics->cluster->link, error);
	return topics->asker;
}

/* No answer: the connection has ended, which somebody else will hear. */
static void on_told(void *context, const redisReply *reply)
{
	if (reply && (reply->type != REDIS_REPLY_ERROR || outlives(context, reply)))
		note_answered(context);
}

void topic_tell(struct topics *topics, const struct topic_row *row)
{
	struct task *task = add_task(topics, true, -1);
	int64_t left_ms = row->expires_ms - clock_wall_ms();
	char format[128], expiry[32] = "";

	task->row = *row;
	if (row->expires_ms < INT64_MAX)
		snprintf(expiry, sizeof(expiry), " PX %lld",
			 (long long)(left_ms > 0 ? left_ms : 1));
	if (row->is_registered)
		snprintf(format, sizeof(format), "SET " TOPIC_KEY "%%b %s%s%s",
			 topic_value(row->require_token), expiry, row->changes == 0 ? " NX" : "");
	else
		snprintf(format, sizeof(format), "DEL " TOPIC_KEY "%%b");
	if (!row->is_registered && row->changes == 0) /* it has expired */
		note_answered(task);
	else
		redis_ask(topics->redis, on_told, task, format, row->name, row->len);
}

void topic_tell_status(struct topics *topics)
{
	topics->status_told_ms = clock_monotonic_ms();
	redis_ask(topics->redis, link_done, topics->cluster->link,
		  "SET " TOPIC_KEY TOPIC_STATUS " %s PX %d", topic_value(true), STATUS_TTL_MS);
}

static void on_value(void *context, const redisReply *reply)
{
	struct task *task = context;
	enum envelope_fault fault = ENVELOPE_MALFORMED; /* a key of another type */
	char code[REDIS_CODE_SIZE];

	if (!reply || (reply->type == REDIS_REPLY_STRING && reply->len == 0))
		return; /* there is no key */
	redis_error_code(reply, code);
	if (reply->type == REDIS_REPLY_STRING) {
		fault = topic_value_read(redis_bytes(reply), &task->row.require_token);
	} else if (strcmp(code, "WRONGTYPE") != 0) {
		outlives(task, reply);
		return;
	}
	task->row.is_registered = fault == ENVELOPE_GOOD;
	if (fault != ENVELOPE_GOOD)
		refused_count(&task->owner->cluster->refused, envelope_counter(fault), "topic");
}

/* There is no key; and nothing else would be there either, had Redis lost its memory. */
static void on_marker(void *context, const redisReply *reply)
{
	struct task *task = context;

	if (link_is_marker(task->owner->cluster->link, reply))
		note_answered(task);
}

static void on_time_left(void *context, const redisReply *reply)
{
	struct task *task = context;
	int64_t now_ms = clock_wall_ms();

	if (!reply || (reply->type != REDIS_REPLY_INTEGER && !outlives(task, reply)))
		return;
	/* -1: it never expires; -2: there is none. */
	task->row.is_registered = task->row.is_registered && reply->integer >= -1;
	task->row.expires_ms = reply->integer < 0 || reply->integer > INT64_MAX - now_ms
				       ? INT64_MAX
				       : now_ms + reply->integer;
	if (reply->integer == -2 && !task->owner->asker)
		redis_ask(task->owner->redis, on_marker, task, "GET " CLUSTER_MARKER);
	else
		note_answered(task);
}

/* Not GET, so that no value can be long. */
void topic_look(struct topics *topics, const char *topic, size_t len, int question)
{
	struct task *task = add_task(topics, false, question);

	memcpy(task->row.name, topic, len);
	task->row.len = len;
	redis_ask(topics->redis, on_value, task, "GETRANGE " TOPIC_KEY "%b 0 %d", topic, len,
		  TOPIC_VALUE_MAX);
	redis_ask(topics->redis, on_time_left, task, "PTTL " TOPIC_KEY "%b", topic, len);
}

/* False when the database cannot be read. */
static bool judge(struct topics *topics, struct task *task)
{
	enum topic_verdict verdict = TOPIC_SAME;

	if (!task->is_void && task->is_tell)
		verdict = TOPIC_CHANGED;
	else if (!task->is_void && (task->row.is_registered || !topics->asker))
		verdict = topic_rows_judge(topics->rows, &task->row,
					   topics->cluster->settings.max_topics);
	if (verdict == TOPIC_ONE_TOO_MANY)
		topics_note_full(topics);
	task->is_to_write = verdict == TOPIC_CHANGED;
	return verdict != TOPIC_UNKNOWN;
}

/* The tasks from the first one to `end`, those of them that are to be, in one transaction. */
static enum database_status write_rows(struct topics *topics, const struct task *end)
{
	struct cluster *cluster = topics->cluster;
	enum database_status status = cluster_store_begin(cluster->store);
	struct task *task;

	if (status != DATABASE_OK)
		return status;
	for (task = STAILQ_FIRST(&topics->tasks); task != end && status == DATABASE_OK;
	     task = STAILQ_NEXT(task, entry))
		if (task->is_to_write)
			status = task->is_tell ? topic_rows_relayed(topics->rows, &task->row)
					       : topic_rows_follow(topics->rows, &task->row,
								   cluster->settings.max_topics);
	return cluster_store_end(cluster->store, status, NULL);
}

/* The first one is done, and what it leads to begins. */
static void finish(struct topics *topics)
{
	const struct task task = *STAILQ_FIRST(&topics->tasks);
	const struct topic_row *row = &task.row;
	bool is_status = topic_name_is_reserved(row->name, row->len);
	bool is_good = row->is_registered && row->require_token;
	/* Redis may have had another one already. And what another process has written for a
	 * browser the relay may have followed further, before: look once more. */
	bool is_doubtful = task.is_to_write && row->is_registered &&
			   (task.is_tell ? row->changes == 0 : task.question >= 0 && topics->asker);

	remove_task(topics);
	if (topics->redis && !topics->asker && is_status && !is_good)
		topic_tell_status(topics);
	if (topics->redis && is_doubtful)
		topic_look(topics, row->name, row->len, -1);
}

/* Does what has been answered, as far as it goes without a hole. */
static void on_apply(uv_timer_t *timer)
{
	struct topics *topics = timer->data;
	struct task *end = STAILQ_FIRST(&topics->tasks);
	bool is_read = true, is_any_to_write = false;
	size_t count = 0;

	for (; is_read && end && end->is_answered && count < BATCH; count++) {
		is_read = judge(topics, end);
		is_any_to_write |= end->is_to_write;
		end = STAILQ_NEXT(end, entry);
	}
	if (!is_read || (is_any_to_write && write_rows(topics, end) != DATABASE_OK)) {
		apply_soon(topics, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < count; i++)
		finish(topics);
	if (count == BATCH)
		apply_soon(topics, 0);
	topics->on_done(topics);
}

void topics_note_full(struct topics *topics)
{
	topics->was_full = true;
	log_repeat_event(&topics->too_many, clock_monotonic_ms());
}

void topic_tasks_end(struct topics *topics)
{
	topics->redis = NULL;
	uv_timer_stop(&topics->apply);
	while (!STAILQ_EMPTY(&topics->tasks))
		remove_task(topics);
}
