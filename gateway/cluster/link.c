/*
 * The link to Redis, see link.h. State: the three connections, how far their greeting has come,
 * and when to try again. Never blocks. Whatever fails ends in link_drop, and from there in the next
 * attempt.
 */
#include "gateway/cluster/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum {
	DEADLINE_MS = 2000,
	SILENCE_MS = 2000, /* where a heartbeat that it has taken should be heard */
	WATCH_MS = 1600, /* for the heartbeat of a node with our id */
	TWIN_BEATS = 2,
	CHANNEL_SIZE = 64
};

#define HEARTBEAT "wavelog:node:"

static const char has_twin[] = "another node has the id of this one: its state_dir was copied";

enum { COMMANDS, READER, SUBSCRIBER, CONNECTIONS };

enum phase {
	IDLE, /* there is to be none */
	AWAY, /* the timer is set for the next attempt */
	CONNECTING,
	GREETING,
	WATCHING, /* somebody is on our channel: who? */
	OPEN
};

struct connection {
	struct link *link;
	struct redis *redis;
	bool is_ready;
};

struct link {
	struct cluster *cluster;
	struct redis_server *server;
	const struct link_handlers *handlers;
	struct connection connections[CONNECTIONS];
	uv_timer_t timer;
	enum phase phase;
	unsigned failures; /* in a row */
	int64_t began_ms, opened_ms; /* monotonic */
	int64_t beaten_ms; /* Redis has taken a heartbeat that has not been heard; 0: none */
	char heartbeat[CHANNEL_SIZE];
	bool is_paused, has_tracking, has_said_so;
	int twin_beats;

	/* What the greeting has brought. */
	int answers_left;
	long long client_id, listeners;
	char marker[CLUSTER_MARKER_SIZE];
	struct log_findings findings;
	struct log_repeat trouble;
};

void link_send(struct redis *redis, redis_answer *answer, void *context, const char *const *words)
{
	int count = 0;

	while (words[count])
		count++;
	redis_command(redis, answer, context, count, words, NULL);
}

static struct redis *commands(struct link *link)
{
	return link->connections[COMMANDS].redis;
}

static void close_connections(struct link *link)
{
	for (size_t i = 0; i < CONNECTIONS; i++) {
		redis_close(link->connections[i].redis);
		link->connections[i] = (struct connection){.link = link};
	}
}

static void attempt(uv_timer_t *timer);

/* The next attempt counts from the begin of this one, so that what takes long to fail does not take
 * longer to come back. */
void link_drop(struct link *link, const char *why)
{
	int64_t now_ms = clock_monotonic_ms(), from_ms = link->began_ms, wait_ms;
	char text[REDIS_WHY_SIZE];

	if (link->phase == IDLE || link->phase == AWAY)
		return;
	snprintf(text, sizeof(text), "%s", why); /* it may be one of what is closed here */
	if (link->phase == OPEN) {
		from_ms = now_ms;
		if (now_ms - link->opened_ms > BACKOFF_MOST_MS)
			link->failures = 0;
	}
	close_connections(link);
	link->phase = AWAY;
	link->failures++;
	wait_ms = from_ms + backoff_ms(link->failures, (uint64_t)uv_hrtime()) - now_ms;
	uv_timer_start(&link->timer, attempt, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
	log_repeat_event(&link->trouble, now_ms, log_text("why", text));
	link->handlers->on_lost(link->cluster, text);
}

void link_refuse(struct link *link, const redisReply *reply)
{
	static const char *const known[] = {
		"OOM",	     "READONLY",   "MISCONF",	 "LOADING",  "NOAUTH",
		"WRONGPASS", "NOPERM",	   "BUSY",	 "NOSCRIPT", "WRONGTYPE",
		"EXECABORT", "MASTERDOWN", "NOREPLICAS", "MOVED",    "CLUSTERDOWN",
	};
	char code[REDIS_CODE_SIZE], why[REDIS_WHY_SIZE];

	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		link_drop(link, "Redis gave an answer that is none");
		return;
	}
	redis_error_code(reply, code);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], code) == 0) {
			snprintf(why, sizeof(why), "Redis answers %s", known[i]);
			link_drop(link, why);
			return;
		}
	link_drop(link, "Redis refused a command");
}

/* Of the greeting. False, and the link is dropped, or will be, unless it is of that type. */
static bool is_good(struct link *link, const redisReply *reply, int type)
{
	if (reply && reply->type == type)
		return true;
	link_refuse(link, reply);
	return false;
}

static bool is_own_beat(const struct link *link, const redisReply *message)
{
	return redis_is_text(message->element[2], link->cluster->instance);
}

static void on_heartbeat(struct link *link, const redisReply *message)
{
	if (is_own_beat(link, message))
		link->beaten_ms = 0;
	else if (++link->twin_beats >= TWIN_BEATS || link->phase == WATCHING)
		link_drop(link, has_twin);
}

static void on_push(void *context, const redisReply *message)
{
	struct connection *connection = context;
	struct link *link = connection->link;

	if (message->elements != 3 || !message->element[1] || !message->element[1]->str)
		return;
	if (strcmp(message->element[1]->str, link->heartbeat) == 0)
		on_heartbeat(link, message);
	else
		link->handlers->on_message(link->cluster, message->element[1]->str, message);
}

/* Until it has, our own commands may be what it waits for, and they have deadlines. */
static void on_beat_taken(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!reply || reply->type != REDIS_REPLY_INTEGER)
		link_refuse(link, reply);
	else if (link->beaten_ms == 0)
		link->beaten_ms = clock_monotonic_ms();
}

static void on_listeners(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct cluster_state *state = cluster_store_state(link->cluster->store);

	if (!is_good(link, reply, REDIS_REPLY_ARRAY))
		return;
	if (reply->elements != 2 || reply->element[1]->type != REDIS_REPLY_INTEGER)
		link_refuse(link, reply);
	else if (state->nodes != reply->element[1]->integer || state->why[0]) {
		cluster_store_tell(link->cluster->store, reply->element[1]->integer, NULL);
		cluster_store_flush(link->cluster->store);
	}
}

static void on_marker_again(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (reply && reply->type != REDIS_REPLY_ERROR && !redis_is_text(reply, link->marker))
		link_drop(link, "Redis has lost its memory");
	else if (!reply || reply->type != REDIS_REPLY_STRING)
		link_refuse(link, reply);
}

/* What Redis has no more is to be given back, and not to be deleted here. */
void link_look(struct link *link)
{
	static const char *const marker[] = {"GET", CLUSTER_MARKER, NULL};

	if (link->phase == OPEN)
		link_send(commands(link), on_marker_again, link, marker);
}

static void beat(struct link *link)
{
	const char *const say[] = {"PUBLISH", link->heartbeat, link->cluster->instance, NULL};
	static const char *const count[] = {"PUBSUB", "NUMSUB", CLUSTER_EVENTS, NULL};

	link_send(commands(link), on_beat_taken, link, say);
	link_send(commands(link), on_listeners, link, count);
	link_look(link);
}

static void open_link(struct link *link)
{
	int64_t now_ms = clock_monotonic_ms();
	struct cluster_state *state = cluster_store_state(link->cluster->store);

	link->phase = OPEN;
	link->opened_ms = now_ms;
	link->beaten_ms = 0;
	link->twin_beats = 0;
	link->cluster->counters.counts[COUNT_CLUSTER_RECONNECTS]++;
	link->findings.is_new_here = !state->marker[0];
	link->findings.has_marker = strcmp(state->marker, link->marker) == 0;
	log_repeat_ends(&link->trouble, now_ms, "Redis is there again");
	beat(link);
	link->handlers->on_open(link->cluster, log_judge(&link->findings, state->position),
				link->findings.newest);
}

static void on_watched(uv_timer_t *timer)
{
	open_link(timer->data);
}

/* Redis 5 and an access list may know nothing of it: then changes are seen later. */
static void on_tracking(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!reply)
		return;
	link->has_tracking = reply->type == REDIS_REPLY_STATUS;
	if (!link->has_tracking && !link->has_said_so)
		log_event(LOG_WARN, "Redis does not say which topics change, so other nodes' are "
				    "looked for every 30 s: it is older than 6, or its access list "
				    "lacks +client|tracking");
	link->has_said_so |= !link->has_tracking;
	if (link->listeners == 0) {
		open_link(link);
		return;
	}
	link->phase = WATCHING;
	uv_timer_start(&link->timer, on_watched, WATCH_MS, 0);
}

static void on_subscribed(void *context, const redisReply *reply)
{
	struct link *link = context;
	char id[32];

	if (!is_good(link, reply, REDIS_REPLY_ARRAY))
		return;
	snprintf(id, sizeof(id), "%lld", link->client_id);
	const char *const words[] = {"CLIENT", "TRACKING",	 "ON",	   "REDIRECT", id, "BCAST",
				     "PREFIX", "wavelog:topic:", "NOLOOP", NULL};
	link_send(commands(link), on_tracking, link, words);
}

/* All of the greeting has been answered: now it listens. */
static void note_answer(struct link *link)
{
	const char *const words[] = {"SUBSCRIBE", CLUSTER_EVENTS, CLUSTER_INVALIDATED,
				     link->heartbeat, NULL};

	if (--link->answers_left == 0)
		link_send(link->connections[SUBSCRIBER].redis, on_subscribed, link, words);
}

static void on_client_id(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!is_good(link, reply, REDIS_REPLY_INTEGER))
		return;
	link->client_id = reply->integer;
	note_answer(link);
}

static void on_type(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!is_good(link, reply, REDIS_REPLY_STATUS))
		return;
	link->findings.has_log = redis_is_text(reply, "stream");
	if (!link->findings.has_log && !redis_is_text(reply, "none"))
		link_drop(link, "the key " CLUSTER_LOG " is another program's: it is no stream");
	else
		note_answer(link);
}

static void on_listed(void *context, const redisReply *reply)
{
	if (is_good(context, reply, REDIS_REPLY_INTEGER))
		note_answer(context);
}

static void on_marker_set(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (reply && reply->type == REDIS_REPLY_ERROR)
		link_refuse(link, reply);
	else if (reply)
		note_answer(link);
}

static void on_marker(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!is_good(link, reply, REDIS_REPLY_STRING))
		return;
	snprintf(link->marker, sizeof(link->marker), "%s", reply->str);
	if (!redis_is_text(reply, link->marker) || !link->marker[0])
		link_drop(link, "the key " CLUSTER_MARKER " is another program's");
	else
		note_answer(link);
}

static void on_namesakes(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!is_good(link, reply, REDIS_REPLY_ARRAY))
		return;
	if (reply->elements != 2 || reply->element[1]->type != REDIS_REPLY_INTEGER) {
		link_refuse(link, reply);
		return;
	}
	link->listeners = reply->element[1]->integer;
	note_answer(link);
}

static bool read_position(const redisReply *reply, struct log_position *out)
{
	return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
	       log_position_read((struct slice){reply->str, (size_t)reply->len}, out);
}

/* Names and values by turns. Without a log it is an error. */
static void on_info(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct log_findings *findings = &link->findings;
	bool has_newest = false;

	if (reply && !findings->has_log) {
		note_answer(link);
		return;
	}
	if (!is_good(link, reply, REDIS_REPLY_ARRAY))
		return;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *value = reply->element[i + 1];

		if (redis_is_text(reply->element[i], "last-generated-id"))
			has_newest = read_position(value, &findings->newest);
		else if (redis_is_text(reply->element[i], "first-entry") &&
			 value->type == REDIS_REPLY_ARRAY && value->elements > 0)
			findings->has_first = read_position(value->element[0], &findings->first);
	}
	if (has_newest)
		note_answer(link);
	else
		link_refuse(link, reply);
}

static void on_entry(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!is_good(link, reply, REDIS_REPLY_ARRAY))
		return;
	link->findings.has_entry = reply->elements > 0;
	note_answer(link);
}

static void draw_marker(char marker[CLUSTER_MARKER_SIZE], const char *node)
{
	snprintf(marker, CLUSTER_MARKER_SIZE, "%.15s%08x", node, (unsigned)clock_wall_us());
}

/* Everything that is to be known before anything may be done. */
static void greet(struct link *link)
{
	const struct cluster *cluster = link->cluster;
	const struct cluster_state *state = cluster_store_state(cluster->store);
	char drawn[CLUSTER_MARKER_SIZE], position[LOG_POSITION_SIZE];
	static const char *const ask_id[] = {"CLIENT", "ID", NULL};

	draw_marker(drawn, cluster->instance);
	log_position_write(state->position, position);
	const struct {
		redis_answer *answer;
		const char *words[6];
	} greeting[] = {
		{on_type, {"TYPE", CLUSTER_LOG}},
		{on_listed, {"SADD", CLUSTER_LOG_NODES, state->node}},
		{on_marker_set, {"SET", CLUSTER_MARKER, drawn, "NX"}},
		{on_marker, {"GET", CLUSTER_MARKER}},
		{on_namesakes, {"PUBSUB", "NUMSUB", link->heartbeat}},
		{on_info, {"XINFO", "STREAM", CLUSTER_LOG}},
		{on_entry, {"XRANGE", CLUSTER_LOG, position, position}},
	};
	const int count = (int)(sizeof(greeting) / sizeof(greeting[0]));

	link->phase = GREETING;
	link->answers_left = count + 1;
	link->findings = (struct log_findings){0};
	link->twin_beats = 0;
	for (int i = 0; i < count; i++)
		link_send(commands(link), greeting[i].answer, link, greeting[i].words);
	link_send(link->connections[SUBSCRIBER].redis, on_client_id, link, ask_id);
}

static void on_ready(void *context)
{
	struct connection *connection = context;
	struct link *link = connection->link;

	connection->is_ready = true;
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (!link->connections[i].is_ready)
			return;
	greet(link);
}

static void on_end(void *context, const char *why)
{
	struct connection *connection = context;

	link_drop(connection->link, why);
}

static void attempt(uv_timer_t *timer)
{
	struct link *link = timer->data;
	const char *node = cluster_store_state(link->cluster->store)->node;
	char name[CHANNEL_SIZE];

	snprintf(name, sizeof(name), "wavelog-worker-%s", node);
	snprintf(link->heartbeat, sizeof(link->heartbeat), HEARTBEAT "%s", node);
	link->phase = CONNECTING;
	link->began_ms = clock_monotonic_ms();
	link->is_paused = false;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &link->connections[i];
		const struct redis_options options = {
			.server = link->server, .client_name = name, .deadline_ms = DEADLINE_MS};
		const struct redis_handlers handlers = {
			.on_ready = on_ready,
			.on_end = on_end,
			.on_push = i == SUBSCRIBER ? on_push : NULL,
			.context = connection,
		};

		*connection = (struct connection){.link = link};
		connection->redis = redis_open(&link->cluster->loop, &options, &handlers);
	}
}

struct link *link_new(struct cluster *cluster, struct redis_server *server,
		      const struct link_handlers *handlers)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->cluster = cluster;
	link->server = server;
	link->handlers = handlers;
	link->trouble = (struct log_repeat){.level = LOG_WARN, .message = "Redis is away"};
	uv_timer_init(&cluster->loop, &link->timer);
	link->timer.data = link;
	return link;
}

void link_start(struct link *link)
{
	if (link->phase == IDLE)
		attempt(&link->timer);
}

void link_stop(struct link *link)
{
	close_connections(link);
	uv_timer_stop(&link->timer);
	link->phase = IDLE;
	link->failures = 0;
}

static void free_link(uv_handle_t *handle)
{
	free(handle->data);
}

void link_free(struct link *link)
{
	if (!link)
		return;
	link_stop(link);
	uv_close((uv_handle_t *)&link->timer, free_link);
}

void link_on_tick(struct link *link)
{
	int64_t now_ms = clock_monotonic_ms();

	log_repeat_tick(&link->trouble, now_ms, false);
	if (link->phase != OPEN)
		return;
	if (!link->is_paused && link->beaten_ms > 0 && now_ms - link->beaten_ms > SILENCE_MS &&
	    now_ms - redis_heard_ms(link->connections[SUBSCRIBER].redis) > SILENCE_MS)
		link_drop(link, "Redis is silent");
	else
		beat(link);
}

struct redis *link_commands(struct link *link)
{
	return link->phase == OPEN ? commands(link) : NULL;
}

struct redis *link_reader(struct link *link)
{
	return link->phase == OPEN ? link->connections[READER].redis : NULL;
}

bool link_has_tracking(const struct link *link)
{
	return link->has_tracking;
}

const char *link_marker(const struct link *link)
{
	return link->marker;
}

void link_pause(struct link *link)
{
	if (link->phase != OPEN || link->is_paused)
		return;
	link->is_paused = true;
	redis_pause(link->connections[SUBSCRIBER].redis);
}

void link_resume(struct link *link)
{
	if (link->phase != OPEN || !link->is_paused)
		return;
	link->is_paused = false;
	link->beaten_ms = 0;
	redis_resume(link->connections[SUBSCRIBER].redis);
}
