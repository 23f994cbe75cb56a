/*
 * Topics of the cluster, see topics.h. State: what is to be looked at. Where that comes from, the
 * first one first: questions of browsers, topics that changed here, keys that changed there, and,
 * while all is compared, the topics here and then the keys there, piece by piece.
 *
 * A process that is not the relay has no link. It answers questions over a connection of its own,
 * which it opens when there is one. Never blocks; the waiting is in topic_tasks.c.
 */
#include "gateway/cluster/topics.h"

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
#include "gateway/cluster/topic_rows.h"
#include "gateway/cluster/topic_tasks.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	TASKS_MAX = 512, /* asked of Redis at a time, and a piece more */
	PIECE = 64, /* topics here that are taken at a time */
	SCAN_COUNT = 256, /* keys there, about */
	CHANGED_MAX = 1024, /* keys that changed and wait; of more than that, all are compared */
	STATUS_KEPT_MS = 60000,
	COMPARE_MS = 30000, /* where Redis does not say what has changed, or there was no room */
	ASKER_RETRY_MS = 1000,
	ASKER_DEADLINE_MS = 2000,
	CURSOR_SIZE = 24
};

struct changed_key {
	STAILQ_ENTRY(changed_key) entry;
	size_t len;
	char topic[];
};

enum comparing { ALL_COMPARED, TOPICS_HERE, KEYS_THERE };

struct topics {
	struct cluster *cluster;
	struct topic_rows *rows;
	struct topic_tasks *tasks;
	STAILQ_HEAD(, changed_key) changed;
	size_t changed_count;

	bool is_up; /* the link is */
	bool may_tell; /* topics may be to relay */
	int64_t status_told_ms;

	enum comparing comparing;
	bool must_compare; /* when this is over, once more */
	bool is_scanning; /* SCAN has been asked */
	struct topic_row walked; /* the last topic here that was looked at */
	char cursor[CURSOR_SIZE]; /* of SCAN */
	int64_t compared_ms;

	struct redis *asker; /* of a process that is not the relay */
	bool asker_is_ready;
	int64_t asker_began_ms;
};

static void pump(void *context);

static void drop_changed(struct topics *topics)
{
	struct changed_key *changed;

	while ((changed = STAILQ_FIRST(&topics->changed))) {
		STAILQ_REMOVE_HEAD(&topics->changed, entry);
		free(changed);
	}
	topics->changed_count = 0;
}

static void note_changed(struct topics *topics, struct slice topic)
{
	struct changed_key *changed;

	if (topics->changed_count == CHANGED_MAX) {
		drop_changed(topics);
		topics->must_compare = true;
	}
	changed = xcalloc(1, sizeof(*changed) + topic.len);
	changed->len = topic.len;
	memcpy(changed->topic, topic.at, topic.len);
	STAILQ_INSERT_TAIL(&topics->changed, changed, entry);
	topics->changed_count++;
}

void topics_look(struct topics *topics, struct slice topic)
{
	if (!topics->is_up)
		return; /* all will be compared */
	note_changed(topics, topic);
	pump(topics);
}

/* The topic of a key; with a NULL `at`, and counted, if it is none that could be registered. */
static struct slice topic_of(struct topics *topics, const redisReply *key)
{
	struct slice topic = {0};

	if (key->type == REDIS_REPLY_STRING && key->len > strlen(TOPIC_KEY) &&
	    memcmp(key->str, TOPIC_KEY, strlen(TOPIC_KEY)) == 0)
		topic = (struct slice){key->str + strlen(TOPIC_KEY), key->len - strlen(TOPIC_KEY)};
	if (topic.at && !topic_name_fault(topic.at, topic.len))
		return topic;
	refused_count(&topics->cluster->refused, COUNT_CLUSTER_REFUSED_BAD_TOPIC, "topic");
	return (struct slice){0};
}

void topics_on_invalidation(struct topics *topics, const redisReply *keys)
{
	if (!topics->is_up)
		return;
	for (size_t i = 0; keys->type == REDIS_REPLY_ARRAY && i < keys->elements; i++) {
		struct slice topic = topic_of(topics, keys->element[i]);

		if (topic.at)
			note_changed(topics, topic);
	}
	pump(topics);
}

/* Topics that changed here, a piece at a time. */
static void tell_some(struct topics *topics)
{
	struct topic_row rows[PIECE];
	size_t count;

	if (!topics->may_tell || topic_tasks_are_telling(topics->tasks) ||
	    topic_rows_to_relay(topics->rows, rows, PIECE, &count) != DATABASE_OK)
		return;
	topics->may_tell = count == PIECE;
	for (size_t i = 0; i < count; i++)
		topic_tasks_tell(topics->tasks, &rows[i]);
}

/* False when the database cannot be read: at the next tick. */
static bool walk_some(struct topics *topics)
{
	struct topic_row rows[PIECE];
	size_t count;

	if (topic_rows_walk(topics->rows, &topics->walked, rows, PIECE, &count) != DATABASE_OK)
		return false;
	for (size_t i = 0; i < count; i++)
		topic_tasks_look(topics->tasks, rows[i].name, rows[i].len, -1);
	if (count > 0)
		topics->walked = rows[count - 1];
	if (count < PIECE)
		topics->comparing = KEYS_THERE;
	return true;
}

/* What the scan has found: topics that are known here have been looked at already. */
static void on_scanned(void *context, const redisReply *reply)
{
	struct topics *topics = context;
	const redisReply *keys;
	bool is_full = false;

	if (!reply)
		return;
	topics->is_scanning = false;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[0]->len >= CURSOR_SIZE || reply->element[1]->type != REDIS_REPLY_ARRAY) {
		link_refuse(topics->cluster->link, reply);
		return;
	}
	keys = reply->element[1];
	for (size_t i = 0; i < keys->elements; i++) {
		struct slice topic = topic_of(topics, keys->element[i]);

		if (topic.at && topic_rows_wants(topics->rows, topic.at, topic.len,
						 topics->cluster->settings.max_topics, &is_full))
			topic_tasks_look(topics->tasks, topic.at, topic.len, -1);
	}
	if (is_full)
		topic_tasks_note_full(topics->tasks);
	memcpy(topics->cursor, reply->element[0]->str, reply->element[0]->len + 1);
	if (strcmp(topics->cursor, "0") == 0)
		topics->comparing = ALL_COMPARED;
	pump(topics);
}

static void scan_some(struct topics *topics)
{
	char count[24];
	const char *argv[] = {"SCAN", topics->cursor, "MATCH", TOPIC_KEY "*", "COUNT", count};

	snprintf(count, sizeof(count), "%d", SCAN_COUNT);
	topics->is_scanning = true;
	redis_command(link_commands(topics->cluster->link), on_scanned, topics, 6, argv, NULL);
}

/* All that is here with all that is there. */
static void compare(struct topics *topics)
{
	bool goes_on = true;

	if (topics->comparing == ALL_COMPARED && topics->must_compare) {
		topics->must_compare = false;
		topics->comparing = TOPICS_HERE;
		topics->walked = (struct topic_row){0};
		memcpy(topics->cursor, "0", 2);
	}
	while (goes_on && topics->comparing == TOPICS_HERE &&
	       topic_tasks_count(topics->tasks) < TASKS_MAX)
		goes_on = walk_some(topics);
	if (topics->comparing == KEYS_THERE && !topics->is_scanning &&
	    topic_tasks_count(topics->tasks) < TASKS_MAX)
		scan_some(topics);
	if (topics->comparing != ALL_COMPARED)
		topics->compared_ms = clock_monotonic_ms();
}

static void look_at_changed(struct topics *topics)
{
	struct changed_key *changed;

	while ((changed = STAILQ_FIRST(&topics->changed)) &&
	       topic_tasks_count(topics->tasks) < TASKS_MAX) {
		STAILQ_REMOVE_HEAD(&topics->changed, entry);
		topics->changed_count--;
		topic_tasks_look(topics->tasks, changed->topic, changed->len, -1);
		free(changed);
	}
}

static void on_asker_ready(void *context)
{
	struct topics *topics = context;

	topics->asker_is_ready = true;
	topic_tasks_begin(topics->tasks, topics->asker, false);
	pump(topics);
}

static void close_asker(struct topics *topics)
{
	if (!topics->asker)
		return;
	topic_tasks_end(topics->tasks);
	redis_close(topics->asker);
	topics->asker = NULL;
	topics->asker_is_ready = false;
}

static void on_asker_end(void *context, const char *why)
{
	struct topics *topics = context;

	(void)why; /* the relay will say it */
	close_asker(topics);
	pump(topics);
}

/* A connection for a question, unless there has been an attempt just now. */
static void open_asker(struct topics *topics)
{
	struct cluster *cluster = topics->cluster;
	int64_t now_ms = clock_monotonic_ms();
	const struct redis_options options = {
		.server = cluster->server,
		.client_name = "wavelog-worker",
		.deadline_ms = ASKER_DEADLINE_MS,
	};
	const struct redis_handlers handlers = {
		.on_ready = on_asker_ready, .on_end = on_asker_end, .context = topics};

	if (cluster->is_relay || topics->asker || now_ms - topics->asker_began_ms < ASKER_RETRY_MS)
		return;
	topics->asker_began_ms = now_ms;
	topics->asker = redis_open(&cluster->loop, &options, &handlers);
}

/* With those that nobody can answer now the browser is turned away at once. */
static void answer_questions(struct topics *topics)
{
	struct questions *questions = topics->cluster->questions;
	bool can_ask = topics->is_up || topics->asker_is_ready;
	char topic[TOPIC_MAX_BYTES];
	size_t len;
	int number;

	if (!questions_are_waiting(questions))
		return;
	if (!can_ask)
		open_asker(topics);
	if (!can_ask && topics->asker)
		return; /* soon */
	while ((number = questions_take(questions, topic, &len)) >= 0) {
		if (can_ask)
			topic_tasks_look(topics->tasks, topic, len, number);
		else
			questions_answer(questions, number);
	}
}

/* Asks for what there is room for. */
static void pump(void *context)
{
	struct topics *topics = context;

	answer_questions(topics);
	if (!topics->is_up)
		return;
	tell_some(topics);
	look_at_changed(topics);
	compare(topics);
}

struct topics *topics_new(struct cluster *cluster)
{
	struct topics *topics = xcalloc(1, sizeof(*topics));

	topics->cluster = cluster;
	topics->rows = topic_rows_new(cluster->database);
	topics->tasks = topic_tasks_new(cluster, topics->rows, pump, topics);
	STAILQ_INIT(&topics->changed);
	topics->asker_began_ms = -ASKER_RETRY_MS;
	return topics;
}

void topics_free(struct topics *topics)
{
	if (!topics)
		return;
	topics_on_link_lost(topics);
	close_asker(topics);
	topic_tasks_free(topics->tasks);
	topic_rows_free(topics->rows);
	free(topics);
}

bool topics_give_all(struct topics *topics)
{
	struct cluster_store *store = topics->cluster->store;
	enum database_status status = cluster_store_begin(store);

	if (status != DATABASE_OK)
		return false;
	status = topic_rows_give(topics->rows);
	if (status == DATABASE_OK)
		return cluster_store_commit(store, NULL) == DATABASE_OK;
	cluster_store_give_up(store);
	return false;
}

void topics_on_link(struct topics *topics)
{
	close_asker(topics);
	topics->is_up = topics->may_tell = topics->must_compare = true;
	topic_tasks_begin(topics->tasks, link_commands(topics->cluster->link), true);
	topic_tasks_tell_status(topics->tasks);
	topics->status_told_ms = clock_monotonic_ms();
	pump(topics);
}

void topics_on_link_lost(struct topics *topics)
{
	if (!topics->is_up)
		return;
	topics->is_up = topics->is_scanning = false;
	topics->comparing = ALL_COMPARED;
	drop_changed(topics);
	topic_tasks_end(topics->tasks);
	answer_questions(topics);
}

void topics_on_tick(struct topics *topics)
{
	int64_t now_ms = clock_monotonic_ms();

	topic_tasks_on_tick(topics->tasks);
	if (topics->asker && topics->cluster->is_relay)
		close_asker(topics);
	if (topics->is_up && now_ms - topics->status_told_ms >= STATUS_KEPT_MS) {
		topic_tasks_tell_status(topics->tasks);
		topics->status_told_ms = now_ms;
	}
	if (topics->is_up && now_ms - topics->compared_ms >= COMPARE_MS)
		topics->must_compare |= topic_tasks_were_full(topics->tasks) ||
					!link_has_tracking(topics->cluster->link);
	topics_on_tap(topics);
}

void topics_on_tap(struct topics *topics)
{
	topics->may_tell = true;
	pump(topics);
}
