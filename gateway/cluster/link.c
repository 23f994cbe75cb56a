/*
 * The link to Redis, see link.h. State: the three connections, how far they have come, and when to
 * try again. Never blocks. Whatever fails ends in link_drop, and from there in the next attempt.
 */
#include "gateway/cluster/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/dial.h"
#include "gateway/cluster/findings.h"
#include "gateway/cluster/wire.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum {
	DEADLINE_MS = 2000,
	BLOCKING_DEADLINE_MS = 3000, /* the reader waits for a second by itself */
	WATCH_MS = 1600, /* for the heartbeat of a node with our id */
	TWIN_BEATS = 2
};

enum { COMMANDS, READER, SUBSCRIBER, CONNECTIONS };

struct link {
	struct cluster *cluster;
	const struct link_handlers *handlers;
	struct dial *dial; /* while it connects */
	struct redis *connections[CONNECTIONS];
	uv_timer_t timer;
	enum phase {
		IDLE, /* there is to be none */
		AWAY, /* the timer is set for the next attempt */
		GREETING, /* it connects, and finds out all that must be known */
		WATCHING, /* somebody else is on our channel: who? */
		OPEN
	} phase;
	int ready; /* connections that are */
	unsigned failures; /* in a row */
	int64_t began_ms; /* this attempt, monotonic */
	char name[CHANNEL_SIZE];
	int twin_beats;
	struct log_repeat trouble;
	struct findings findings;
};

static void close_connections(struct link *link)
{
	dial_close(link->dial);
	link->dial = NULL;
	for (size_t i = 0; i < CONNECTIONS; i++)
		redis_close(link->connections[i]);
	memset(link->connections, 0, sizeof(link->connections));
}

static void attempt(uv_timer_t *timer);

/* The next attempt counts from the begin of one that has failed, so that what takes long to fail
 * does not take longer to come back. */
void link_drop(struct link *link, const char *why)
{
	int64_t now_ms = clock_monotonic_ms(), wait_ms;
	bool was_open = link->phase == OPEN;
	char text[REDIS_WHY_SIZE];

	if (link->phase == IDLE || link->phase == AWAY)
		return;
	snprintf(text, sizeof(text), "%s", why); /* it may be one of what is closed here */
	close_connections(link);
	link->phase = AWAY;
	if (was_open && now_ms - link->began_ms > BACKOFF_MOST_MS)
		link->failures = 0;
	wait_ms = (was_open ? 0 : link->began_ms - now_ms) +
		  backoff_ms(++link->failures, (uint64_t)uv_hrtime());
	uv_timer_start(&link->timer, attempt, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
	log_repeat_event(&link->trouble, now_ms, log_text("why", text));
	link->handlers->on_lost(link->cluster, text);
}

void link_refuse(struct link *link, const redisReply *reply)
{
	char why[REDIS_WHY_SIZE];

	if (!reply)
		return;
	redis_why(reply, why);
	link_drop(link, why);
}

static void on_push(void *context, const redisReply *message)
{
	struct link *link = context;
	const char *channel = message->elements == 3 ? message->element[1]->str : NULL;

	if (!channel)
		return;
	if (strcmp(channel, link->findings.channel) != 0) {
		if (link->phase == OPEN) /* before that nobody could do anything with it */
			link->handlers->on_message(link->cluster, channel, message);
	} else if (!redis_is_text(message->element[2], link->cluster->instance) &&
		   (++link->twin_beats >= TWIN_BEATS || link->phase == WATCHING)) {
		link_drop(link, "another node has the id of this one: its state_dir was copied");
	}
}

bool link_takes(struct link *link, const redisReply *reply, int type)
{
	if (reply && reply->type == type)
		return true;
	link_refuse(link, reply);
	return false;
}

void link_done(void *link, const redisReply *reply)
{
	if (reply && reply->type == REDIS_REPLY_ERROR)
		link_refuse(link, reply);
}

static void on_nodes(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct cluster_store *store = link->cluster->store;
	long long nodes = reply ? redis_named_number(reply) : -1;

	if (nodes < 0) {
		link_refuse(link, reply);
	} else if (cluster_store_state(store)->nodes != nodes ||
		   cluster_store_state(store)->why[0]) {
		cluster_store_tell(store, nodes, NULL);
		cluster_store_flush(store);
	}
}

bool link_is_marker(struct link *link, const redisReply *reply)
{
	bool is_it = redis_is_text(reply, link->findings.marker);

	if (reply && reply->type != REDIS_REPLY_ERROR && !is_it)
		link_drop(link, "Redis has lost its memory");
	else if (!is_it)
		link_refuse(link, reply);
	return is_it;
}

static void on_marker(void *context, const redisReply *reply)
{
	link_is_marker(context, reply);
}

/* What Redis has no more is to be given back, and not to be deleted here. */
void link_look(struct link *link)
{
	if (link->phase == OPEN)
		redis_ask(link->connections[COMMANDS], on_marker, link, "GET " CLUSTER_MARKER);
}

/* Says that this node is there, and looks whether all of Redis is. */
static void beat(struct link *link)
{
	struct redis *redis = link->connections[COMMANDS];

	redis_ask(redis, link_done, link, "PUBLISH %s %s", link->findings.channel,
		  link->cluster->instance);
	redis_ask(redis, on_nodes, link, "PUBSUB NUMSUB " CLUSTER_EVENTS);
	link_look(link);
	redis_ask(link->connections[SUBSCRIBER], link_done, link, "PING");
}

static void open_link(struct link *link)
{
	struct cluster_state *state = cluster_store_state(link->cluster->store);
	struct log_findings *log = &link->findings.log;

	link->phase = OPEN;
	link->twin_beats = 0;
	link->cluster->counters.counts[COUNT_CLUSTER_RECONNECTS]++;
	log->is_new_here = !state->marker[0];
	log->is_unread = state->marker[0] == CLUSTER_UNREAD;
	log->has_marker = strcmp(state->marker + log->is_unread, link->findings.marker) == 0;
	log_repeat_ends(&link->trouble, clock_monotonic_ms(), "Redis is there again");
	beat(link);
	link->handlers->on_open(link->cluster, log_judge(log, state->reached.position),
				log->newest);
}

/* What was said on our channel before this has been heard, however late this thread was. */
static void on_watched(void *context, const redisReply *reply)
{
	if (link_takes(context, reply, REDIS_REPLY_ARRAY))
		open_link(context);
}

static void on_watch_over(uv_timer_t *timer)
{
	struct link *link = timer->data;

	redis_ask(link->connections[SUBSCRIBER], on_watched, link, "PING");
}

static void on_found(struct cluster *cluster, const char *why)
{
	struct link *link = cluster->link;

	if (why) {
		link_drop(link, why);
	} else if (link->findings.is_alone) {
		open_link(link);
	} else {
		link->phase = WATCHING;
		uv_timer_start(&link->timer, on_watch_over, WATCH_MS, 0);
	}
}

static void on_end(void *context, const char *why)
{
	link_drop(context, why);
}

static void on_ready(void *context)
{
	struct link *link = context;

	if (++link->ready == CONNECTIONS)
		findings_ask(&link->findings, link->connections[COMMANDS],
			     link->connections[SUBSCRIBER]);
}

static void on_dialed(void *context, const int *sockets, const char *why)
{
	struct link *link = context;
	struct redis_options options = {.server = link->cluster->server, .client_name = link->name};
	struct redis_handlers handlers = {.on_ready = on_ready, .on_end = on_end, .context = link};

	if (!sockets) {
		link_drop(link, why);
		return;
	}
	for (size_t i = 0; i < CONNECTIONS; i++) {
		options.deadline_ms = i == READER ? BLOCKING_DEADLINE_MS : DEADLINE_MS;
		handlers.on_push = i == SUBSCRIBER ? on_push : NULL;
		link->connections[i] =
			redis_open(&link->cluster->loop, sockets[i], &options, &handlers);
	}
	dial_close(link->dial);
	link->dial = NULL;
}

static void attempt(uv_timer_t *timer)
{
	struct link *link = timer->data;
	struct cluster *cluster = link->cluster;

	snprintf(link->name, sizeof(link->name), "wavelog-worker-%s", cluster->node);
	snprintf(link->findings.channel, CHANNEL_SIZE, "wavelog:node:%s", cluster->node);
	link->phase = GREETING;
	link->began_ms = clock_monotonic_ms();
	link->ready = link->twin_beats = 0;
	link->dial =
		dial_start(&cluster->loop, &cluster->server->url, CONNECTIONS, on_dialed, link);
}

struct link *link_new(struct cluster *cluster, const struct link_handlers *handlers)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->cluster = cluster;
	link->handlers = handlers;
	link->findings = (struct findings){.cluster = cluster, .on_found = on_found};
	link->trouble = (struct log_repeat){.level = LOG_WARN, .message = "Redis is away"};
	uv_timer_init(&cluster->loop, &link->timer);
	link->timer.data = link;
	return link;
}

void link_start(struct link *link)
{
	attempt(&link->timer);
}

void link_stop(struct link *link)
{
	close_connections(link);
	uv_timer_stop(&link->timer);
	link->phase = IDLE;
	link->failures = 0;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	link_stop(link);
	log_repeat_tick(&link->trouble, clock_monotonic_ms(), true);
	uv_close((uv_handle_t *)&link->timer, free_data);
}

void link_on_tick(struct link *link)
{
	log_repeat_tick(&link->trouble, clock_monotonic_ms(), false);
	if (link->phase == OPEN)
		beat(link);
}

struct redis *link_commands(struct link *link)
{
	return link->phase == OPEN ? link->connections[COMMANDS] : NULL;
}

struct redis *link_reader(struct link *link)
{
	return link->phase == OPEN ? link->connections[READER] : NULL;
}

bool link_has_tracking(const struct link *link)
{
	return link->findings.has_tracking;
}

const char *link_marker(const struct link *link)
{
	return link->findings.marker;
}

void link_pause(struct link *link, bool is_paused)
{
	if (link->phase == OPEN)
		redis_pause(link->connections[SUBSCRIBER], is_paused);
}
