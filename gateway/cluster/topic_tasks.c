/*
 * Asking Redis about topics, see topic_tasks.h. State: a queue of tasks, in the order in which they
 * were asked, which is the order of the answers. Never blocks, but for the database's write lock, a
 * moment at a time: when that cannot be had, the same is tried again, and no more is asked for.
 */
#include "gateway/cluster/topic_tasks.h"

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

enum task_kind {
	LOOK, /* what the key says, the row will say */
	TELL /* what the row says, the key was told */
};

struct task {
	STAILQ_ENTRY(task) entry;
	struct topic_tasks *owner;
	enum task_kind kind;
	bool is_answered;
	bool is_void; /* Redis gave no answer that says anything: nothing is written */
	bool has_value; /* of LOOK: the one of a registered topic */
	int question; /* -1: nobody waits */
	struct topic_row row;
};

struct topic_tasks {
	struct cluster *cluster;
	struct topic_rows *rows;
	struct redis *redis; /* NULL: nobody can be asked */
	bool is_relay;
	STAILQ_HEAD(, task) list;
	size_t count, tell_count;
	uv_timer_t apply;
	void (*on_done)(void *context);
	void *context;
	struct log_repeat too_many;
	bool was_full; /* see topic_tasks_were_full */
};

static size_t key_of(const struct topic_row *row, char key[sizeof(TOPIC_KEY) + TOPIC_MAX_BYTES])
{
	memcpy(key, TOPIC_KEY, strlen(TOPIC_KEY));
	memcpy(key + strlen(TOPIC_KEY), row->name, row->len);
	return strlen(TOPIC_KEY) + row->len;
}

static void apply_soon(struct topic_tasks *tasks, uint64_t after_ms);

/* Of the first one. */
static void remove_task(struct topic_tasks *tasks)
{
	struct task *task = STAILQ_FIRST(&tasks->list);

	STAILQ_REMOVE_HEAD(&tasks->list, entry);
	tasks->count--;
	tasks->tell_count -= task->kind == TELL;
	if (task->question >= 0)
		questions_answer(tasks->cluster->questions, task->question);
	free(task);
}

static struct task *add_task(struct topic_tasks *tasks, enum task_kind kind, int question,
			     const struct topic_row *row)
{
	struct task *task = xcalloc(1, sizeof(*task));

	task->owner = tasks;
	task->kind = kind;
	task->question = question;
	task->row = *row;
	STAILQ_INSERT_TAIL(&tasks->list, task, entry);
	tasks->count++;
	tasks->tell_count += kind == TELL;
	return task;
}

/* An error that says nothing about the topic. The relay's link is dropped, and says why: then the
 * task is gone, and false comes back. */
static bool outlives(struct task *task, const redisReply *error)
{
	task->is_void = true;
	if (!task->owner->is_relay)
		return true;
	link_refuse(task->owner->cluster->link, error);
	return false;
}

/* No answer: the connection has ended, which somebody else will hear. */
static void on_told(void *context, const redisReply *reply)
{
	struct task *task = context;

	if (!reply || (reply->type == REDIS_REPLY_ERROR && !outlives(task, reply)))
		return;
	task->is_answered = true;
	apply_soon(task->owner, 0);
}

void topic_tasks_tell(struct topic_tasks *tasks, const struct topic_row *row)
{
	char key[sizeof(TOPIC_KEY) + TOPIC_MAX_BYTES], left[24];
	int64_t left_ms = row->expires_ms - clock_wall_ms();
	struct slice words[6] = {{"DEL", 3}, {key, key_of(row, key)}};
	const char *argv[6];
	size_t lens[6];
	struct task *task;
	int argc = 2;

	if (row->is_registered) {
		const char *value = topic_value(row->require_token);

		words[0] = (struct slice){"SET", 3};
		words[argc++] = (struct slice){value, strlen(value)};
	}
	if (row->is_registered && row->expires_ms < INT64_MAX) {
		snprintf(left, sizeof(left), "%lld", (long long)(left_ms > 0 ? left_ms : 1));
		words[argc++] = (struct slice){"PX", 2};
		words[argc++] = (struct slice){left, strlen(left)};
	}
	if (row->is_registered && row->changes == 0)
		words[argc++] = (struct slice){"NX", 2};
	for (int i = 0; i < argc; i++) {
		argv[i] = words[i].at;
		lens[i] = words[i].len;
	}
	task = add_task(tasks, TELL, -1, row);
	task->is_answered = !row->is_registered && row->changes == 0; /* it has expired */
	if (task->is_answered)
		apply_soon(tasks, 0);
	else
		redis_command(tasks->redis, on_told, task, argc, argv, lens);
}

void topic_tasks_tell_status(struct topic_tasks *tasks)
{
	struct topic_row row = {
		.len = strlen(TOPIC_STATUS),
		.is_registered = true,
		.require_token = true,
		.expires_ms = clock_wall_ms() + STATUS_TTL_MS,
		.changes = 1,
	};

	memcpy(row.name, TOPIC_STATUS, row.len);
	topic_tasks_tell(tasks, &row);
}

static void on_value(void *context, const redisReply *reply)
{
	struct task *task = context;
	enum envelope_fault fault = ENVELOPE_MALFORMED; /* a key of another type */
	char code[REDIS_CODE_SIZE] = "";

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR)
		redis_error_code(reply, code);
	if (reply->type != REDIS_REPLY_STRING && strcmp(code, "WRONGTYPE") != 0) {
		outlives(task, reply);
		return;
	}
	if (!code[0] && reply->len == 0)
		return; /* there is no key */
	if (!code[0])
		fault = topic_value_read((struct slice){reply->str, reply->len},
					 &task->row.require_token);
	task->has_value = fault == ENVELOPE_GOOD;
	if (!task->has_value)
		refused_count(&task->owner->cluster->refused, envelope_counter(fault), "topic");
}

/* There is no key; and nothing else would be there either, had Redis lost its memory. */
static void on_marker(void *context, const redisReply *reply)
{
	struct task *task = context;
	struct link *link = task->owner->cluster->link;

	if (!reply)
		return;
	if (!redis_is_text(reply, link_marker(link))) {
		link_drop(link, "Redis has lost its memory");
		return;
	}
	task->is_answered = true;
	apply_soon(task->owner, 0);
}

static void on_time_left(void *context, const redisReply *reply)
{
	static const char *const ask_marker[] = {"GET", CLUSTER_MARKER, NULL};
	struct task *task = context;
	int64_t now_ms = clock_wall_ms();

	if (!reply || (reply->type != REDIS_REPLY_INTEGER && !outlives(task, reply)))
		return;
	/* -1: it never expires; -2: there is none. */
	task->row.is_registered = task->has_value && reply->integer >= -1;
	task->row.expires_ms = reply->integer < 0 || reply->integer > INT64_MAX - now_ms
				       ? INT64_MAX
				       : now_ms + reply->integer;
	if (reply->integer == -2 && task->owner->is_relay) {
		link_send(task->owner->redis, on_marker, task, ask_marker);
		return;
	}
	task->is_answered = true;
	apply_soon(task->owner, 0);
}

/* Not GET, so that no value can be long. */
void topic_tasks_look(struct topic_tasks *tasks, const char *topic, size_t len, int question)
{
	struct topic_row row = {.len = len};
	char key[sizeof(TOPIC_KEY) + TOPIC_MAX_BYTES], last[24];
	size_t key_len;
	struct task *task;

	memcpy(row.name, topic, len);
	key_len = key_of(&row, key);
	task = add_task(tasks, LOOK, question, &row);
	snprintf(last, sizeof(last), "%d", TOPIC_VALUE_MAX);
	redis_command(tasks->redis, on_value, task, 4, (const char *[]){"GETRANGE", key, "0", last},
		      (size_t[]){8, key_len, 1, strlen(last)});
	redis_command(tasks->redis, on_time_left, task, 2, (const char *[]){"PTTL", key},
		      (size_t[]){4, key_len});
}

/* True when the row must be written. */
static bool is_to_write(struct topic_tasks *tasks, struct task *task, enum topic_verdict *verdict)
{
	if (task->is_void)
		return false;
	if (task->kind == TELL)
		return !topic_name_is_reserved(task->row.name, task->row.len);
	*verdict = topic_rows_judge(tasks->rows, &task->row, tasks->cluster->settings.max_topics);
	if (*verdict == TOPIC_ONE_TOO_MANY)
		topic_tasks_note_full(tasks);
	return *verdict == TOPIC_CHANGED;
}

/* The tasks from the first one to `end`, those of them that are marked, in one transaction. */
static enum database_status write_rows(struct topic_tasks *tasks, const struct task *end,
				       const bool *is_marked)
{
	struct cluster *cluster = tasks->cluster;
	enum database_status status = cluster_store_begin(cluster->store);
	struct task *task = STAILQ_FIRST(&tasks->list);

	if (status != DATABASE_OK)
		return status;
	for (; task != end && status == DATABASE_OK; task = STAILQ_NEXT(task, entry))
		if (*is_marked++)
			status = task->kind == TELL
					 ? topic_rows_relayed(tasks->rows, &task->row)
					 : topic_rows_follow(tasks->rows, &task->row,
							     cluster->settings.max_topics);
	if (status == DATABASE_OK)
		return cluster_store_commit(cluster->store, NULL);
	cluster_store_give_up(cluster->store);
	return status;
}

/* The first one is done, and what it leads to begins. */
static void finish(struct topic_tasks *tasks, bool was_written)
{
	const struct task *task = STAILQ_FIRST(&tasks->list);
	const struct topic_row row = task->row;
	bool is_key_lost = task->kind == LOOK && !task->is_void &&
			   topic_name_is_reserved(row.name, row.len) &&
			   !(row.is_registered && row.require_token);
	/* Redis may have had another one already. And what another process has written for a
	 * browser the relay may have followed further, before: look once more. */
	bool is_doubtful =
		was_written && row.is_registered &&
		(task->kind == TELL ? row.changes == 0 : task->question >= 0 && !tasks->is_relay);

	remove_task(tasks);
	if (tasks->redis && tasks->is_relay && is_key_lost)
		topic_tasks_tell_status(tasks);
	if (tasks->redis && is_doubtful)
		topic_tasks_look(tasks, row.name, row.len, -1);
}

/* Does what has been answered, as far as it goes without a hole. */
static void on_apply(uv_timer_t *timer)
{
	struct topic_tasks *tasks = timer->data;
	enum topic_verdict verdict = TOPIC_SAME;
	bool is_marked[BATCH] = {false}, is_any_marked = false;
	struct task *end = STAILQ_FIRST(&tasks->list);
	size_t count = 0;

	for (; end && end->is_answered && count < BATCH; end = STAILQ_NEXT(end, entry)) {
		is_marked[count] = is_to_write(tasks, end, &verdict);
		is_any_marked |= is_marked[count++];
		if (verdict == TOPIC_UNKNOWN)
			break;
	}
	if (verdict == TOPIC_UNKNOWN ||
	    (is_any_marked && write_rows(tasks, end, is_marked) != DATABASE_OK)) {
		apply_soon(tasks, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < count; i++)
		finish(tasks, is_marked[i]);
	if (count == BATCH)
		apply_soon(tasks, 0);
	tasks->on_done(tasks->context);
}

/* In the loop's next turn, when more answers may be there; a retry is not hastened. */
static void apply_soon(struct topic_tasks *tasks, uint64_t after_ms)
{
	if (!uv_is_active((uv_handle_t *)&tasks->apply))
		uv_timer_start(&tasks->apply, on_apply, after_ms, 0);
}

size_t topic_tasks_count(const struct topic_tasks *tasks)
{
	return tasks->count;
}

bool topic_tasks_are_telling(const struct topic_tasks *tasks)
{
	return tasks->tell_count > 0;
}

struct topic_tasks *topic_tasks_new(struct cluster *cluster, struct topic_rows *rows,
				    void (*on_done)(void *context), void *context)
{
	struct topic_tasks *tasks = xcalloc(1, sizeof(*tasks));

	*tasks = (struct topic_tasks){
		.cluster = cluster,
		.rows = rows,
		.on_done = on_done,
		.context = context,
		.too_many = {.level = LOG_WARN,
			     .message = "Redis has more topics than max_topics allows"},
	};
	STAILQ_INIT(&tasks->list);
	uv_timer_init(&cluster->loop, &tasks->apply);
	tasks->apply.data = tasks;
	return tasks;
}

void topic_tasks_begin(struct topic_tasks *tasks, struct redis *redis, bool is_relay)
{
	tasks->redis = redis;
	tasks->is_relay = is_relay;
}

void topic_tasks_end(struct topic_tasks *tasks)
{
	tasks->redis = NULL;
	uv_timer_stop(&tasks->apply);
	while (!STAILQ_EMPTY(&tasks->list))
		remove_task(tasks);
}

static void free_tasks(uv_handle_t *handle)
{
	free(handle->data);
}

void topic_tasks_free(struct topic_tasks *tasks)
{
	if (!tasks)
		return;
	topic_tasks_end(tasks);
	log_repeat_tick(&tasks->too_many, clock_monotonic_ms(), true);
	uv_close((uv_handle_t *)&tasks->apply, free_tasks);
}

void topic_tasks_on_tick(struct topic_tasks *tasks)
{
	log_repeat_tick(&tasks->too_many, clock_monotonic_ms(), false);
}

void topic_tasks_note_full(struct topic_tasks *tasks)
{
	tasks->was_full = true;
	log_repeat_event(&tasks->too_many, clock_monotonic_ms());
}

bool topic_tasks_were_full(struct topic_tasks *tasks)
{
	bool was_full = tasks->was_full;

	tasks->was_full = false;
	return was_full;
}
