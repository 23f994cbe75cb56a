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
	BATCH_EVENTS = 256,
	BATCH_BYTES = 1024 * 1024,
	GATHER_MS = 2, /* after a batch that was not full: publishers need the processor more */
	TRIM_MS = 60000
};

struct relay {
	struct cluster *cluster;
	uv_timer_t gathering;
	bool is_on;
	bool is_ready; /* no batch is on its way, and the marker is WATCHed */
	int64_t looked_id; /* all events up to this one have been looked at */
	int64_t last_id; /* the newest that was sent */
	int64_t published_id; /* foreign nodes have been told up to here */
	size_t events, bytes; /* of the batch */
	int64_t trim_ms; /* monotonic: when to do it next */
};

struct relay *relay_new(struct cluster *cluster)
{
	struct relay *relay = xcalloc(1, sizeof(*relay));

	relay->cluster = cluster;
	uv_timer_init(&cluster->loop, &relay->gathering);
	relay->gathering.data = relay;
	return relay;
}

void relay_free(struct relay *relay)
{
	if (relay)
		uv_close((uv_handle_t *)&relay->gathering, free_data);
}

/* The words of one command; numbers are written out here. */
struct words {
	int count, numbers;
	const char *at[24];
	size_t lens[24];
	char number[5][24];
};

static void add(struct words *words, const char *at, size_t len)
{
	words->at[words->count] = at;
	words->lens[words->count++] = len;
}

static void add_text(struct words *words, const char *name, const char *value)
{
	add(words, name, strlen(name));
	add(words, value, strlen(value));
}

static void add_number(struct words *words, const char *name, int64_t value)
{
	char *text = words->number[words->numbers++];

	snprintf(text, sizeof(words->number[0]), "%" PRId64, value);
	add_text(words, name, text);
}

/* Not by redis_ask, which would take twice as long for so many words. Here and below, an error as
 * the answer to a command of the batch makes EXEC refuse all of it, and says more about why. */
static void send_entry(struct relay *relay, const struct log_entry *event, int64_t prev)
{
	struct link *link = relay->cluster->link;
	struct words words = {0};

	add_text(&words, "XADD", CLUSTER_LOG);
	add(&words, "MAXLEN", strlen("MAXLEN"));
	add_number(&words, "~", relay->cluster->settings.event_limit);
	add(&words, "*", 1);
	add_text(&words, "origin", event->origin);
	add_number(&words, "id", event->id);
	add_number(&words, "prev", prev);
	add_text(&words, "kind", log_kinds[event->kind]);
	add_number(&words, "created", event->created_ms);
	if (event->topic.at) {
		add(&words, "topic", strlen("topic"));
		add(&words, event->topic.at, event->topic.len);
	}
	if (event->has_user)
		add_number(&words, "user", event->user);
	if (event->kind == EVENT_PUSH) {
		add(&words, "payload", strlen("payload"));
		add(&words, event->payload.at ? event->payload.at : "", event->payload.len);
	}
	redis_command(link_commands(link), link_done, link, words.count, words.at, words.lens);
}

/* An own_event_visitor. */
static bool take_event(void *context, const struct log_entry *event, int64_t gone_id)
{
	struct relay *relay = context;
	struct link *link = relay->cluster->link;
	struct redis *redis = link_commands(link);
	int64_t joined_id = cluster_store_state(relay->cluster->store)->joined_id;
	char head[ENVELOPE_HEAD_MAX];

	if (relay->events == BATCH_EVENTS ||
	    (relay->events > 0 && relay->bytes + event->payload.len > BATCH_BYTES))
		return false;
	relay->bytes += event->payload.len;
	if (relay->events++ == 0)
		redis_ask(redis, link_done, link, "MULTI");
	send_entry(relay, event, prev_of(relay->last_id, gone_id, joined_id));
	if (event->kind == EVENT_PUSH && event->id > relay->published_id) /* for foreign nodes */
		redis_ask(redis, link_done, link, "PUBLISH " CLUSTER_EVENTS " %b%b}", head,
			  envelope_write_head(head, event->origin, event->topic), event->payload.at,
			  event->payload.len);
	relay->last_id = event->id;
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

	if (!link_is_marker(relay->cluster->link, reply))
		return;
	relay->is_ready = true;
	if (relay->events > 0 && relay->events < BATCH_EVENTS)
		uv_timer_start(&relay->gathering, on_gathered, GATHER_MS, 0);
	else
		relay_look(relay);
}

static void watch(struct relay *relay)
{
	struct link *link = relay->cluster->link;
	struct redis *redis = link_commands(link);

	relay->is_ready = false;
	redis_ask(redis, link_done, link, "WATCH " CLUSTER_MARKER);
	redis_ask(redis, on_marker, relay, "GET " CLUSTER_MARKER);
}

/* What fails only now has kept nothing else from happening. No answer: nobody knows, and the log
 * will say. */
static void on_executed(void *context, const redisReply *reply)
{
	struct relay *relay = context;
	struct link *link = relay->cluster->link;
	size_t done = 0;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_NIL)
		link_drop(link, "Redis has lost its memory");
	else if (link_takes(link, reply, REDIS_REPLY_ARRAY)) {
		if (relay->published_id < relay->last_id)
			relay->published_id = relay->last_id;
		while (done < reply->elements && reply->element[done]->type != REDIS_REPLY_ERROR)
			done++;
		if (done < reply->elements)
			link_refuse(link, reply->element[done]);
		else
			relay->cluster->counters.counts[COUNT_CLUSTER_RELAYED] +=
				(int64_t)relay->events;
	}
}

void relay_look(struct relay *relay)
{
	enum database_status status;
	int64_t looked_id;

	if (!relay->is_on || !relay->is_ready || is_gathering(relay))
		return;
	relay->events = relay->bytes = 0;
	status = cluster_store_look(relay->cluster->store, relay->looked_id, take_event, relay,
				    &looked_id);
	if (status != DATABASE_OK && looked_id == relay->looked_id)
		return; /* it is tried again when tapped, and each second */
	relay->looked_id = looked_id;
	if (relay->events == 0)
		return;
	redis_ask(link_commands(relay->cluster->link), on_executed, relay, "EXEC");
	watch(relay);
}

bool relay_is_idle(const struct relay *relay)
{
	return !relay->is_on || (relay->is_ready && !is_gathering(relay));
}

void relay_on_load(struct relay *relay)
{
	relay->published_id = cluster_store_state(relay->cluster->store)->reached.relayed_id;
}

void relay_on_link(struct relay *relay)
{
	const struct cluster_state *state = cluster_store_state(relay->cluster->store);

	relay->is_on = true;
	relay->events = 0;
	relay->looked_id = relay->last_id = state->reached.relayed_id;
	if (relay->published_id < state->reached.relayed_id) /* by a batch whose answer was lost */
		relay->published_id = state->reached.relayed_id;
	watch(relay);
}

void relay_on_link_lost(struct relay *relay)
{
	relay->is_on = false;
	uv_timer_stop(&relay->gathering);
}

/* By the clock of Redis, as far as it is known: the newest entry is no older than now. An older
 * Redis knows no age, and refuses: then the number alone bounds the log. */
static void trim(struct relay *relay, int64_t now_ms)
{
	uint64_t newest_ms = cluster_store_state(relay->cluster->store)->reached.position.ms;
	uint64_t kept_ms = (uint64_t)relay->cluster->settings.event_retention_ms;

	if (now_ms < relay->trim_ms || newest_ms <= kept_ms)
		return;
	relay->trim_ms = now_ms + TRIM_MS;
	redis_ask(link_commands(relay->cluster->link), NULL, NULL,
		  "XTRIM " CLUSTER_LOG " MINID ~ %lld", (long long)(newest_ms - kept_ms));
}

void relay_on_tick(struct relay *relay)
{
	if (!relay->is_on)
		return;
	relay_look(relay);
	trim(relay, clock_monotonic_ms());
}
