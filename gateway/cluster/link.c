/*
 * The link to Redis, see link.h. State: the three connections, how far they have come, and when to
 * try again. Never blocks. Whatever fails ends in link_drop, and from there in the next attempt.
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
	BLOCKING_DEADLINE_MS = 3000, /* the reader waits for a second by itself */
	WATCH_MS = 1600, /* for the heartbeat of a node with our id */
	TWIN_BEATS = 2,
	CHANNEL_SIZE = 64
};

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { COMMANDS, READER, SUBSCRIBER, CONNECTIONS };

/* What the greeting asks, all at one moment. */
enum { LOG_TYPE, JOINED, MARKER_MADE, MARKER, NAMESAKES, LOG_STATE, LOG_ENTRY, QUESTIONS };

struct link {
	struct cluster *cluster;
	const struct link_handlers *handlers;
	struct redis *connections[CONNECTIONS];
	uv_timer_t timer;
	enum phase {
		IDLE, /* there is to be none */
		AWAY, /* the timer is set for the next attempt */
		GREETING, /* it connects, subscribes, and asks all that must be known */
		WATCHING, /* somebody else is on our channel: who? */
		OPEN
	} phase;
	int ready; /* connections that are */
	unsigned failures; /* in a row */
	int64_t began_ms; /* this attempt, monotonic */
	char name[CHANNEL_SIZE], heartbeat[CHANNEL_SIZE];
	bool has_tracking, has_said_so;
	int twin_beats;
	struct log_repeat trouble;

	/* What the greeting has brought. */
	long long client_id;
	char marker[CLUSTER_MARKER_SIZE];
	struct log_findings findings;
};

void link_send(struct redis *redis, redis_answer *answer, void *context, const char *const *words)
{
	int count = 0;

	while (words[count])
		count++;
	redis_command(redis, answer, context, count, words, NULL);
}

static void close_connections(struct link *link)
{
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
	char code[REDIS_CODE_SIZE], why[REDIS_WHY_SIZE];

	if (reply && reply->type == REDIS_REPLY_ERROR) {
		redis_error_code(reply, code);
		snprintf(why, sizeof(why), "Redis answers %s", code);
		link_drop(link, why);
	} else if (reply) {
		link_drop(link, "Redis gave an answer that is none");
	}
}

static void on_push(void *context, const redisReply *message)
{
	struct link *link = context;
	const char *channel = message->elements == 3 ? message->element[1]->str : NULL;

	if (!channel)
		return;
	if (strcmp(channel, link->heartbeat) != 0) {
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

/* Of what may be answered by anything but an error. */
static void on_done(void *context, const redisReply *reply)
{
	if (reply && reply->type == REDIS_REPLY_ERROR)
		link_refuse(context, reply);
}

/* How many listen to a channel: its name comes first. */
static bool read_listeners(struct link *link, const redisReply *reply, long long *out)
{
	if (!link_takes(link, reply, REDIS_REPLY_ARRAY) ||
	    !link_takes(link, reply->elements == 2 ? reply->element[1] : reply,
			REDIS_REPLY_INTEGER))
		return false;
	*out = reply->element[1]->integer;
	return true;
}

static void on_nodes(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct cluster_store *store = link->cluster->store;
	long long nodes;

	if (read_listeners(link, reply, &nodes) &&
	    (cluster_store_state(store)->nodes != nodes || cluster_store_state(store)->why[0])) {
		cluster_store_tell(store, nodes, NULL);
		cluster_store_flush(store);
	}
}

bool link_is_marker(struct link *link, const redisReply *reply)
{
	bool is_it = redis_is_text(reply, link->marker);

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
		link_send(link->connections[COMMANDS], on_marker, link,
			  WORDS("GET", CLUSTER_MARKER));
}

/* Says that this node is there, and looks whether all of Redis is. */
static void beat(struct link *link)
{
	struct redis *redis = link->connections[COMMANDS];

	link_send(redis, on_done, link, WORDS("PUBLISH", link->heartbeat, link->cluster->instance));
	link_send(redis, on_nodes, link, WORDS("PUBSUB", "NUMSUB", CLUSTER_EVENTS));
	link_look(link);
	link_send(link->connections[SUBSCRIBER], on_done, link, WORDS("PING"));
}

static void open_link(uv_timer_t *timer)
{
	struct link *link = timer->data;
	struct cluster_state *state = cluster_store_state(link->cluster->store);

	link->phase = OPEN;
	link->twin_beats = 0;
	link->cluster->counters.counts[COUNT_CLUSTER_RECONNECTS]++;
	link->findings.is_new_here = !state->marker[0];
	link->findings.is_unread = state->marker[0] == CLUSTER_UNREAD;
	link->findings.has_marker =
		strcmp(state->marker + link->findings.is_unread, link->marker) == 0;
	log_repeat_ends(&link->trouble, clock_monotonic_ms(), "Redis is there again");
	beat(link);
	link->handlers->on_open(link->cluster, log_judge(&link->findings, state->position),
				link->findings.newest);
}

static bool read_position(const redisReply *reply, struct log_position *out)
{
	return reply && reply->str &&
	       log_position_read((struct slice){reply->str, (size_t)reply->len}, out);
}

/* Of XINFO STREAM; without a log that is an error. */
static bool read_log_state(const redisReply *reply, struct log_findings *findings)
{
	const redisReply *first = redis_member(reply, "first-entry");

	findings->has_first =
		first && first->elements > 0 && read_position(first->element[0], &findings->first);
	return !findings->has_log ||
	       read_position(redis_member(reply, "last-generated-id"), &findings->newest);
}

/* Is all there as this node left it? */
static void on_greeted(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct log_findings *findings = &link->findings;
	redisReply **answers = reply ? reply->element : NULL;
	long long listeners;

	if (!link_takes(link, reply, REDIS_REPLY_ARRAY))
		return;
	if (reply->elements != QUESTIONS) {
		link_refuse(link, reply);
		return;
	}
	findings->has_log = redis_is_text(answers[LOG_TYPE], "stream");
	if (!findings->has_log && !redis_is_text(answers[LOG_TYPE], "none")) {
		link_drop(link, "the key " CLUSTER_LOG " is another program's: it is no stream");
		return;
	}
	if (!link_takes(link, answers[JOINED], REDIS_REPLY_INTEGER) ||
	    !link_takes(link, answers[MARKER], REDIS_REPLY_STRING) ||
	    !read_listeners(link, answers[NAMESAKES], &listeners) ||
	    !link_takes(link, answers[LOG_ENTRY], REDIS_REPLY_ARRAY))
		return;
	findings->has_entry = answers[LOG_ENTRY]->elements > 0;
	snprintf(link->marker, sizeof(link->marker), "%s", answers[MARKER]->str);
	if (!redis_is_text(answers[MARKER], link->marker) || !link->marker[0]) {
		link_drop(link, "the key " CLUSTER_MARKER " is another program's");
	} else if (!read_log_state(answers[LOG_STATE], findings)) {
		link_refuse(link, answers[LOG_STATE]);
	} else if (listeners > 1) { /* not only this node's own connection */
		link->phase = WATCHING;
		uv_timer_start(&link->timer, open_link, WATCH_MS, 0);
	} else {
		open_link(&link->timer);
	}
}

/* Redis 5 and an access list may know nothing of it: then changes are seen later. */
static void on_tracking(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (!reply)
		return;
	link->has_tracking = reply->type == REDIS_REPLY_STATUS;
	if (!link->has_tracking && !link->has_said_so)
		log_event(LOG_WARN, "Redis does not say which topics change",
			  log_text("why", "it is older than 6, or its access list lacks "
					  "+client|tracking"));
	link->has_said_so |= !link->has_tracking;
}

/* It listens to all channels. Now all is asked that must be known before anything is done. */
static void on_listening(void *context, const redisReply *reply)
{
	struct link *link = context;
	struct redis *redis = link->connections[COMMANDS];
	const struct cluster_state *state = cluster_store_state(link->cluster->store);
	char drawn[CLUSTER_MARKER_SIZE], id[32], position[LOG_POSITION_SIZE];

	if (!link_takes(link, reply, REDIS_REPLY_ARRAY))
		return;
	snprintf(drawn, sizeof(drawn), "%.15s%08x", link->cluster->instance,
		 (unsigned)clock_wall_us());
	snprintf(id, sizeof(id), "%lld", link->client_id);
	log_position_write(state->position, position);
	const char *const *const questions[QUESTIONS] = {
		[LOG_TYPE] = WORDS("TYPE", CLUSTER_LOG),
		[JOINED] = WORDS("SADD", CLUSTER_LOG_NODES, state->node),
		[MARKER_MADE] = WORDS("SET", CLUSTER_MARKER, drawn, "NX"),
		[MARKER] = WORDS("GET", CLUSTER_MARKER),
		[NAMESAKES] = WORDS("PUBSUB", "NUMSUB", link->heartbeat),
		[LOG_STATE] = WORDS("XINFO", "STREAM", CLUSTER_LOG),
		[LOG_ENTRY] = WORDS("XRANGE", CLUSTER_LOG, position, position),
	};

	link_send(redis, on_tracking, link,
		  WORDS("CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX",
			"wavelog:topic:", "NOLOOP"));
	link_send(redis, on_done, link, WORDS("MULTI"));
	for (size_t i = 0; i < QUESTIONS; i++)
		link_send(redis, on_done, link, questions[i]);
	link_send(redis, on_greeted, link, WORDS("EXEC"));
}

static void on_client_id(void *context, const redisReply *reply)
{
	struct link *link = context;

	if (link_takes(link, reply, REDIS_REPLY_INTEGER))
		link->client_id = reply->integer;
}

static void on_ready(void *context)
{
	struct link *link = context;
	struct redis *redis = link->connections[SUBSCRIBER];

	if (++link->ready < CONNECTIONS)
		return;
	link_send(redis, on_client_id, link, WORDS("CLIENT", "ID"));
	link_send(redis, on_done, link, WORDS("SUBSCRIBE", CLUSTER_EVENTS));
	link_send(redis, on_done, link, WORDS("SUBSCRIBE", CLUSTER_INVALIDATED));
	link_send(redis, on_listening, link, WORDS("SUBSCRIBE", link->heartbeat));
}

static void on_end(void *context, const char *why)
{
	link_drop(context, why);
}

static void attempt(uv_timer_t *timer)
{
	struct link *link = timer->data;
	const char *node = link->cluster->node;
	struct redis_options options = {.server = link->cluster->server, .client_name = link->name};
	struct redis_handlers handlers = {.on_ready = on_ready, .on_end = on_end, .context = link};

	snprintf(link->name, sizeof(link->name), "wavelog-worker-%s", node);
	snprintf(link->heartbeat, sizeof(link->heartbeat), "wavelog:node:%s", node);
	link->phase = GREETING;
	link->began_ms = clock_monotonic_ms();
	link->ready = link->twin_beats = 0;
	link->findings = (struct log_findings){0};
	for (size_t i = 0; i < CONNECTIONS; i++) {
		options.deadline_ms = i == READER ? BLOCKING_DEADLINE_MS : DEADLINE_MS;
		handlers.on_push = i == SUBSCRIBER ? on_push : NULL;
		link->connections[i] = redis_open(&link->cluster->loop, &options, &handlers);
	}
}

struct link *link_new(struct cluster *cluster, const struct link_handlers *handlers)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->cluster = cluster;
	link->handlers = handlers;
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

static void free_link(uv_handle_t *handle)
{
	free(handle->data);
}

void link_free(struct link *link)
{
	if (!link)
		return;
	link_stop(link);
	log_repeat_tick(&link->trouble, clock_monotonic_ms(), true);
	uv_close((uv_handle_t *)&link->timer, free_link);
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
	return link->has_tracking;
}

const char *link_marker(const struct link *link)
{
	return link->marker;
}

void link_pause(struct link *link)
{
	if (link->phase == OPEN)
		redis_pause(link->connections[SUBSCRIBER], true);
}

void link_resume(struct link *link)
{
	if (link->phase == OPEN)
		redis_pause(link->connections[SUBSCRIBER], false);
}
