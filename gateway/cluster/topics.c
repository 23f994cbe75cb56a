/*
 * Topics of the cluster, see topics.h. State: what is to be looked at. Where that comes from, the
 * first one first: questions of browsers, topics that changed here, keys that changed there, and,
 * while all is compared, the topics here and then the keys there, piece by piece.
 *
 * A process that is not the relay has no link. It answers questions over a connection of its own,
 * which it opens when there is one. Never blocks; the waiting is in topic_tasks.c.
 */
#include "gateway/cluster/topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/dial.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/questions.h"
#include "gateway/cluster/redis.h"
#include "gateway/cluster/refused.h"
#include "gateway/cluster/store.h"
#include "gateway/cluster/topics_internal.h"
#include "gateway/cluster/wire.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	TASKS_MAX = 2048, /* at a time; when Redis names more keys, all are compared again */
	COMPARED_MAX = 512, /* and a piece more: of these, in a comparison */
	PIECE = 64, /* topics here that are taken at a time */
	SCAN_COUNT = 256, /* keys there, about */
	STATUS_KEPT_MS = 60000,
	COMPARE_MS = 30000, /* where Redis does not say what has changed, or there was no room */
	RECENT_MS = 10000, /* what a Redis that fails over can have lost, and more */
	ASKER_RETRY_MS = 1000,
	ASKER_DEADLINE_MS = 2000
};

static bool is_up(const struct topics *topics)
{
	return topics->redis && !topics->asker;
}

static void pump(struct topics *topics);

static void look_at(struct topics *topics, struct slice topic)
{
	if (topics->task_count < TASKS_MAX)
		topic_look(topics, topic.at, topic.len, -1);
	else
		topics->must_compare = true;
}

void topics_look(struct topics *topics, struct slice topic)
{
	if (is_up(topics)) /* else all will be compared */
		look_at(topics, topic);
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
	if (keys->type == REDIS_REPLY_NIL) /* a database was flushed: ours? */
		link_look(topics->cluster->link);
	if (!is_up(topics))
		return;
	for (size_t i = 0; keys->type == REDIS_REPLY_ARRAY && i < keys->elements; i++) {
		struct slice topic = topic_of(topics, keys->element[i]);

		if (topic.at)
			look_at(topics, topic);
	}
	pump(topics);
}

/* Topics that changed here, a piece at a time. */
static void tell_some(struct topics *topics)
{
	struct topic_row rows[PIECE];
	size_t count;

	if (!topics->may_tell || topics->tell_count > 0 ||
	    topic_rows_to_relay(topics->rows, rows, PIECE, &count) != DATABASE_OK)
		return;
	topics->may_tell = count == PIECE;
	for (size_t i = 0; i < count; i++)
		topic_tell(topics, &rows[i]);
}

/* False when the database cannot be read: at the next tick. */
static bool walk_some(struct topics *topics)
{
	struct topic_row rows[PIECE];
	size_t count;

	if (topic_rows_walk(topics->rows, &topics->walked, rows, PIECE, &count) != DATABASE_OK)
		return false;
	for (size_t i = 0; i < count; i++)
		topic_look(topics, rows[i].name, rows[i].len, -1);
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
	    reply->element[0]->len >= sizeof(topics->cursor) ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY) {
		link_refuse(topics->cluster->link, reply);
		return;
	}
	keys = reply->element[1];
	for (size_t i = 0; i < keys->elements; i++) {
		struct slice topic = topic_of(topics, keys->element[i]);

		if (topic.at && topic_rows_wants(topics->rows, topic.at, topic.len,
						 topics->cluster->settings.max_topics, &is_full))
			look_at(topics, topic);
	}
	if (is_full)
		topics_note_full(topics);
	memcpy(topics->cursor, reply->element[0]->str, reply->element[0]->len + 1);
	if (strcmp(topics->cursor, "0") == 0)
		topics->comparing = ALL_COMPARED;
	pump(topics);
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
	while (goes_on && topics->comparing == TOPICS_HERE && topics->task_count < COMPARED_MAX)
		goes_on = walk_some(topics);
	if (topics->comparing == KEYS_THERE && !topics->is_scanning &&
	    topics->task_count < COMPARED_MAX) {
		topics->is_scanning = true;
		redis_ask(topics->redis, on_scanned, topics,
			  "SCAN %s MATCH " TOPIC_KEY "* COUNT %d", topics->cursor, SCAN_COUNT);
	}
	if (topics->comparing != ALL_COMPARED)
		topics->compared_ms = clock_monotonic_ms();
}

static void on_asker_ready(void *context)
{
	struct topics *topics = context;

	topics->redis = topics->asker;
	pump(topics);
}

static void close_asker(struct topics *topics)
{
	if (!topics->dial && !topics->asker)
		return;
	topic_tasks_end(topics);
	dial_close(topics->dial);
	redis_close(topics->asker);
	topics->dial = NULL;
	topics->asker = NULL;
}

static void on_asker_end(void *context, const char *why)
{
	struct topics *topics = context;

	(void)why; /* the relay will say it */
	close_asker(topics);
	pump(topics);
}

static void on_asker_dialed(void *context, const int *sockets, const char *why)
{
	struct topics *topics = context;
	struct cluster *cluster = topics->cluster;
	const struct redis_options options = {
		.server = cluster->server,
		.client_name = "wavelog-worker",
		.deadline_ms = ASKER_DEADLINE_MS,
	};
	const struct redis_handlers handlers = {
		.on_ready = on_asker_ready, .on_end = on_asker_end, .context = topics};

	if (!sockets) {
		on_asker_end(topics, why);
		return;
	}
	topics->asker = redis_open(&cluster->loop, *sockets, &options, &handlers);
	dial_close(topics->dial);
	topics->dial = NULL;
}

/* A connection for a question, unless there has been an attempt just now. */
static void open_asker(struct topics *topics)
{
	struct cluster *cluster = topics->cluster;
	int64_t now_ms = clock_monotonic_ms();

	if (cluster->is_relay || topics->dial || topics->asker ||
	    now_ms - topics->asker_began_ms < ASKER_RETRY_MS)
		return;
	topics->asker_began_ms = now_ms;
	topics->dial =
		dial_start(&cluster->loop, &cluster->server->url, 1, on_asker_dialed, topics);
}

/* With those that nobody can answer now the browser is turned away at once. */
static void answer_questions(struct topics *topics)
{
	struct questions *questions = topics->cluster->questions;
	char topic[TOPIC_MAX_BYTES];
	size_t len;
	int number;

	if (!questions_are_waiting(questions))
		return;
	if (!topics->redis)
		open_asker(topics);
	if (!topics->redis && (topics->dial || topics->asker))
		return; /* soon */
	while ((number = questions_take(questions, topic, &len)) >= 0) {
		if (topics->redis)
			topic_look(topics, topic, len, number);
		else
			questions_answer(questions, number);
	}
}

/* Asks for what there is room for. */
static void pump(struct topics *topics)
{
	answer_questions(topics);
	if (!is_up(topics))
		return;
	tell_some(topics);
	compare(topics);
}

struct topics *topics_new(struct cluster *cluster)
{
	struct topics *topics = xcalloc(1, sizeof(*topics));

	topics->cluster = cluster;
	topics->rows = topic_rows_new(cluster->database);
	topics->on_done = pump;
	topics->asker_began_ms = -ASKER_RETRY_MS;
	topics->too_many = (struct log_repeat){
		.level = LOG_WARN, .message = "Redis has more topics than max_topics allows"};
	STAILQ_INIT(&topics->tasks);
	uv_timer_init(&cluster->loop, &topics->apply);
	topics->apply.data = topics;
	return topics;
}

void topics_free(struct topics *topics)
{
	if (!topics)
		return;
	topics_on_link_lost(topics);
	close_asker(topics);
	topic_tasks_end(topics);
	topic_rows_free(topics->rows);
	log_repeat_tick(&topics->too_many, clock_monotonic_ms(), true);
	uv_close((uv_handle_t *)&topics->apply, free_data);
}

void topics_on_load(struct topics *topics)
{
	const struct cluster_state *state = cluster_store_state(topics->cluster->store);

	topics->lost_ms = state->why[0] ? state->since_ms : clock_wall_ms();
}

bool topics_give(struct topics *topics, bool is_all)
{
	struct cluster_store *store = topics->cluster->store;
	enum database_status status = cluster_store_begin(store);

	if (status != DATABASE_OK)
		return false;
	status = topic_rows_give(topics->rows, is_all ? 0 : topics->lost_ms - RECENT_MS);
	return cluster_store_end(store, status, NULL) == DATABASE_OK;
}

void topics_on_link(struct topics *topics)
{
	close_asker(topics);
	topics->redis = link_commands(topics->cluster->link);
	topics->may_tell = topics->must_compare = true;
	topic_tell_status(topics);
	pump(topics);
}

void topics_on_link_lost(struct topics *topics)
{
	if (!is_up(topics))
		return;
	topics->is_scanning = false;
	topics->comparing = ALL_COMPARED;
	topics->lost_ms = clock_wall_ms();
	topic_tasks_end(topics);
	answer_questions(topics);
}

void topics_on_tick(struct topics *topics)
{
	int64_t now_ms = clock_monotonic_ms();

	log_repeat_tick(&topics->too_many, now_ms, false);
	if (topics->cluster->is_relay)
		close_asker(topics);
	if (is_up(topics) && now_ms - topics->status_told_ms >= STATUS_KEPT_MS)
		topic_tell_status(topics);
	if (is_up(topics) && now_ms - topics->compared_ms >= COMPARE_MS) {
		topics->must_compare |=
			topics->was_full || !link_has_tracking(topics->cluster->link);
		topics->was_full = false;
	}
	topics_on_tap(topics);
}

void topics_on_tap(struct topics *topics)
{
	topics->may_tell = true;
	pump(topics);
}
