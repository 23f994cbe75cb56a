/*
 * The outbox, see relay.h. State: how far it has come, and the batch that Redis has not answered.
 *
 * A batch is one MULTI ... EXEC, so that all of it is in the log or nothing is. When the answer is
 * lost nobody knows which: then the log is read to its end before anything else is sent, and says
 * so. The marker is WATCHed: a Redis that forgets everything takes no batch before that was
 * noticed, for what comes after a hole cannot be put in order again.
 */
#include "gateway/cluster/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	BATCH_EVENTS = 128,
	BATCH_BYTES = 1024 * 1024,
	GATHER_MS = 2, /* after a batch that was not full: publishers need the processor more */
	DEADLINE_MS = 2000,
	BYTES_PER_MS = 128, /* what a slow network must still manage */
	TRIM_MS = 60000,
	NUMBER_SIZE = 24,
	WORDS_MAX = 22
};

struct relay {
	struct cluster *cluster;
	uv_timer_t gathering;
	bool is_on, is_watching; /* the marker: the next batch may be sent */
	bool is_busy; /* one has not been answered */
	int64_t looked_id; /* all events up to this one have been looked at */
	int64_t last_id; /* the newest that was sent */
	int64_t published_id; /* foreign nodes have been told up to here */
	int64_t trim_ms; /* monotonic: when to do it next */
	bool cannot_trim;
	struct batch {
		size_t events, bytes;
		int64_t deadline_ms;
		int64_t last_id;
	} batch;
	char *message; /* for the channel; its size: */
	size_t message_size;
};

struct relay *relay_new(struct cluster *cluster)
{
	struct relay *relay = xcalloc(1, sizeof(*relay));

	relay->cluster = cluster;
	uv_timer_init(&cluster->loop, &relay->gathering);
	relay->gathering.data = relay;
	return relay;
}

static void free_relay(uv_handle_t *handle)
{
	struct relay *relay = handle->data;

	free(relay->message);
	free(relay);
}

void relay_free(struct relay *relay)
{
	if (relay)
		uv_close((uv_handle_t *)&relay->gathering, free_relay);
}

/* The words of one command, with numbers written out. */
struct words {
	int count;
	const char *at[WORDS_MAX];
	size_t lens[WORDS_MAX];
	char numbers[5][NUMBER_SIZE];
	int numbers_used;
};

static void add_slice(struct words *words, struct slice word)
{
	words->at[words->count] = word.at ? word.at : "";
	words->lens[words->count++] = word.len;
}

static void add_word(struct words *words, const char *word)
{
	add_slice(words, (struct slice){word, strlen(word)});
}

static void add_number(struct words *words, const char *name, int64_t number)
{
	char *text = words->numbers[words->numbers_used++];

	snprintf(text, NUMBER_SIZE, "%" PRId64, number);
	add_word(words, name);
	add_word(words, text);
}

/* Of a command within the batch: an error makes EXEC refuse all of it, and says less about why. */
static void on_queued(void *context, const redisReply *reply)
{
	struct relay *relay = context;

	if (reply && reply->type == REDIS_REPLY_ERROR)
		link_refuse(relay->cluster->link, reply);
}

static void send_words(struct relay *relay, const struct words *words)
{
	redis_command_for(link_commands(relay->cluster->link), relay->batch.deadline_ms, on_queued,
			  relay, words->count, words->at, words->lens);
}

static void send_entry(struct relay *relay, const struct log_entry *event, int64_t prev)
{
	static const char *const kinds[] = {
		[EVENT_PUSH] = "push",
		[EVENT_UNREGISTER] = "unregister",
		[EVENT_DISCONNECT] = "disconnect",
	};
	struct words words = {0};

	add_word(&words, "XADD");
	add_word(&words, CLUSTER_LOG);
	add_word(&words, "MAXLEN");
	add_number(&words, "~", relay->cluster->settings.event_limit);
	add_word(&words, "*");
	add_word(&words, "origin");
	add_word(&words, event->origin);
	add_number(&words, "id", event->id);
	add_number(&words, "prev", prev);
	add_word(&words, "kind");
	add_word(&words, kinds[event->kind]);
	if (event->topic.at) {
		add_word(&words, "topic");
		add_slice(&words, event->topic);
	}
	if (event->has_user)
		add_number(&words, "user", event->user);
	add_number(&words, "created", event->created_ms);
	if (event->kind == EVENT_PUSH) {
		add_word(&words, "payload");
		add_slice(&words, event->payload);
	}
	send_words(relay, &words);
}

/* For foreign nodes. */
static void send_message(struct relay *relay, const struct log_entry *event)
{
	size_t size = ENVELOPE_HEAD_MAX + event->payload.len + 1;
	struct words words = {0};

	if (relay->message_size < size) {
		relay->message = xreallocarray(relay->message, size, 1);
		relay->message_size = size;
	}
	size_t len = envelope_write_head(relay->message, event->origin, event->topic);
	memcpy(relay->message + len, event->payload.at, event->payload.len);
	len += event->payload.len;
	relay->message[len++] = '}';
	add_word(&words, "PUBLISH");
	add_word(&words, CLUSTER_EVENTS);
	add_slice(&words, (struct slice){relay->message, len});
	send_words(relay, &words);
}

/* An own_event_visitor. */
static bool take_event(void *context, const struct log_entry *event, int64_t gone_id)
{
	struct relay *relay = context;
	struct batch *batch = &relay->batch;
	int64_t joined_id = cluster_store_state(relay->cluster->store)->joined_id;

	if (batch->events == BATCH_EVENTS ||
	    (batch->events > 0 && batch->bytes + event->payload.len > BATCH_BYTES))
		return false;
	batch->bytes += event->payload.len;
	batch->deadline_ms = DEADLINE_MS + (int64_t)(2 * batch->bytes / BYTES_PER_MS);
	if (batch->events++ == 0) {
		struct words words = {0};

		add_word(&words, "MULTI");
		send_words(relay, &words);
	}
	send_entry(relay, event, prev_of(relay->last_id, gone_id, joined_id));
	if (event->kind == EVENT_PUSH && event->id > relay->published_id)
		send_message(relay, event);
	relay->last_id = batch->last_id = event->id;
	return true;
}

static bool is_gathering(const struct relay *relay)
{
	return uv_is_active((const uv_handle_t *)&relay->gathering) != 0;
}

static void on_gathered(uv_timer_t *timer)
{
	relay_look(timer->data);
}

static void on_marker(void *context, const redisReply *reply)
{
	struct relay *relay = context;
	size_t events = relay->batch.events;

	if (reply && reply->type == REDIS_REPLY_ERROR)
		link_refuse(relay->cluster->link, reply);
	else if (reply && !redis_is_text(reply, link_marker(relay->cluster->link)))
		link_drop(relay->cluster->link, "Redis has lost its memory");
	else if (reply) {
		relay->is_watching = true;
		if (events > 0 && events < BATCH_EVENTS)
			uv_timer_start(&relay->gathering, on_gathered, GATHER_MS, 0);
		else
			relay_look(relay);
	}
}

static void watch(struct relay *relay)
{
	static const char *const watch_words[] = {"WATCH", CLUSTER_MARKER, NULL};
	static const char *const get_words[] = {"GET", CLUSTER_MARKER, NULL};
	struct redis *redis = link_commands(relay->cluster->link);

	relay->is_watching = false;
	link_send(redis, on_queued, relay, watch_words);
	link_send(redis, on_marker, relay, get_words);
}

/* NULL: nobody knows, and the log will say. */
static void on_executed(void *context, const redisReply *reply)
{
	struct relay *relay = context;
	struct batch *batch = &relay->batch;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_NIL) {
		link_drop(relay->cluster->link, "Redis has lost its memory");
		return;
	}
	if (reply->type != REDIS_REPLY_ARRAY) {
		link_refuse(relay->cluster->link, reply);
		return;
	}
	/* What fails only now has kept nothing else from happening. */
	relay->published_id =
		batch->last_id > relay->published_id ? batch->last_id : relay->published_id;
	for (size_t i = 0; i < reply->elements; i++)
		if (reply->element[i]->type == REDIS_REPLY_ERROR) {
			link_refuse(relay->cluster->link, reply->element[i]);
			return;
		}
	relay->cluster->counters.counts[COUNT_CLUSTER_RELAYED] += (int64_t)batch->events;
	relay->is_busy = false;
}

void relay_look(struct relay *relay)
{
	struct words words = {0};
	int64_t looked_id;

	if (!relay->is_on || relay->is_busy || !relay->is_watching || is_gathering(relay))
		return;
	relay->batch = (struct batch){0};
	if (cluster_store_look(relay->cluster->store, relay->looked_id, take_event, relay,
			       &looked_id) != DATABASE_OK &&
	    looked_id == relay->looked_id)
		return; /* it is tried again when tapped, and each second */
	relay->looked_id = looked_id;
	if (relay->batch.events == 0)
		return;
	relay->is_busy = true;
	add_word(&words, "EXEC");
	redis_command_for(link_commands(relay->cluster->link), relay->batch.deadline_ms,
			  on_executed, relay, words.count, words.at, words.lens);
	watch(relay);
}

bool relay_is_idle(const struct relay *relay)
{
	return !relay->is_on || (!relay->is_busy && relay->is_watching && !is_gathering(relay));
}

void relay_on_load(struct relay *relay)
{
	relay->published_id = cluster_store_state(relay->cluster->store)->relayed_id;
}

void relay_on_link(struct relay *relay)
{
	const struct cluster_state *state = cluster_store_state(relay->cluster->store);

	relay->is_on = true;
	relay->is_busy = false;
	relay->batch = (struct batch){0};
	relay->looked_id = relay->last_id = state->relayed_id;
	if (relay->published_id < state->relayed_id) /* by a batch whose answer was lost */
		relay->published_id = state->relayed_id;
	watch(relay);
}

void relay_on_link_lost(struct relay *relay)
{
	relay->is_on = false;
	uv_timer_stop(&relay->gathering);
}

/* An older Redis knows no age: then the number alone bounds the log. */
static void on_trimmed(void *context, const redisReply *reply)
{
	struct relay *relay = context;

	relay->cannot_trim = reply && reply->type == REDIS_REPLY_ERROR;
}

/* By the clock of Redis, as far as it is known: the newest entry is no older than now. */
static void trim(struct relay *relay, int64_t now_ms)
{
	uint64_t newest_ms = cluster_store_state(relay->cluster->store)->position.ms;
	uint64_t kept_ms = (uint64_t)relay->cluster->settings.event_retention_ms;
	struct redis *redis = link_commands(relay->cluster->link);
	char least[NUMBER_SIZE];

	if (relay->cannot_trim || now_ms < relay->trim_ms || newest_ms <= kept_ms || !redis)
		return;
	relay->trim_ms = now_ms + TRIM_MS;
	snprintf(least, sizeof(least), "%" PRIu64, newest_ms - kept_ms);
	const char *const words[] = {"XTRIM", CLUSTER_LOG, "MINID", "~", least, NULL};
	link_send(redis, on_trimmed, relay, words);
}

void relay_on_tick(struct relay *relay)
{
	if (!relay->is_on)
		return;
	relay_look(relay);
	trim(relay, clock_monotonic_ms());
}
