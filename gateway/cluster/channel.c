/*
 * The channel, see channel.h. State: who is a node of ours and who is not, as far as Redis has been
 * asked; messages that wait, in their order, for the answer or for the database. When there are too
 * many of them no more is read from the socket. Never blocks, but for the database's write lock, a
 * moment at a time.
 */
#include "gateway/cluster/channel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/envelope.h"
#include "gateway/cluster/intake.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/refused.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"

enum {
	BATCH = 64, /* events in a transaction */
	BATCH_BYTES = 1024 * 1024,
	WAITING_MAX = 4096, /* messages */
	WAITING_MAX_BYTES = 8 * 1024 * 1024, /* of payloads; one may be more */
	RETRY_MS = 50, /* the database could not be written */
	KNOWN_MAX = 64 /* nodes; more are forgotten, and asked for again */
};

struct message {
	STAILQ_ENTRY(message) entry;
	struct envelope envelope; /* its payload is below */
	char payload[];
};

struct known_node {
	char id[NODE_ID_LEN + 1]; /* "": none */
	bool is_ours;
};

struct channel {
	struct cluster *cluster;
	struct known_node known[KNOWN_MAX];
	size_t next_known; /* whose place the next one takes */
	char asked[NODE_ID_LEN + 1]; /* Redis is being asked whether it is ours; "": none is */
	bool is_listed; /* what it has answered to the first half of that */
	STAILQ_HEAD(, message) waiting;
	size_t count, bytes;
	bool is_paused;
	uv_timer_t apply;
};

static const struct known_node *find_node(const struct channel *channel, const char *id)
{
	for (size_t i = 0; i < KNOWN_MAX; i++)
		if (memcmp(channel->known[i].id, id, NODE_ID_LEN) == 0)
			return &channel->known[i];
	return NULL;
}

static void learn(struct channel *channel, const char *id, bool is_ours)
{
	struct known_node *node = &channel->known[channel->next_known];

	memcpy(node->id, id, NODE_ID_LEN);
	node->is_ours = is_ours;
	channel->next_known = (channel->next_known + 1) % KNOWN_MAX;
}

static void remove_first(struct channel *channel)
{
	struct message *message = STAILQ_FIRST(&channel->waiting);

	STAILQ_REMOVE_HEAD(&channel->waiting, entry);
	channel->count--;
	channel->bytes -= message->envelope.payload.len;
	free(message);
}

static void on_apply(uv_timer_t *timer);

/* In the loop's next turn, when there may be more; a retry is not hastened. */
static void apply_after(struct channel *channel, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)&channel->apply))
		uv_timer_start(&channel->apply, on_apply, ms, 0);
}

/* It is not on the list; but nobody is, if Redis has lost its memory since the message was sent. */
static void on_marker(void *context, const redisReply *reply)
{
	struct channel *channel = context;

	if (!link_is_marker(channel->cluster->link, reply))
		return;
	learn(channel, channel->asked, channel->is_listed);
	channel->asked[0] = '\0';
	apply_after(channel, 0);
}

static void on_listed(void *context, const redisReply *reply)
{
	struct channel *channel = context;

	channel->is_listed = link_takes(channel->cluster->link, reply, REDIS_REPLY_INTEGER) &&
			     reply->integer == 1;
}

/* Whether that id is one of ours, unless Redis is being asked, or is away. */
static void ask(struct channel *channel, const char *id)
{
	struct redis *redis = link_commands(channel->cluster->link);

	if (!redis || channel->asked[0])
		return;
	memcpy(channel->asked, id, NODE_ID_LEN);
	redis_ask(redis, on_listed, channel, "SISMEMBER " CLUSTER_LOG_NODES " %s", id);
	redis_ask(redis, on_marker, channel, "GET " CLUSTER_MARKER);
}

/* How many from the first one on can be added together, all of foreign nodes. Those of ours are
 * removed on the way, and of the first one that is not known Redis is asked. */
static size_t gather(struct channel *channel)
{
	struct message *message = STAILQ_FIRST(&channel->waiting);
	size_t count = 0, bytes = 0;

	while (message && count < BATCH && bytes < BATCH_BYTES) {
		const struct known_node *node = find_node(channel, message->envelope.origin);

		if (!node)
			ask(channel, message->envelope.origin);
		if (!node || (node->is_ours && count > 0))
			break;
		if (node->is_ours) {
			remove_first(channel);
			message = STAILQ_FIRST(&channel->waiting);
			continue;
		}
		count++;
		bytes += message->envelope.payload.len;
		message = STAILQ_NEXT(message, entry);
	}
	return count;
}

static enum database_status add_events(struct channel *channel, size_t count)
{
	struct cluster *cluster = channel->cluster;
	enum database_status status = cluster_store_begin(cluster->store);
	struct message *message = STAILQ_FIRST(&channel->waiting);

	if (status != DATABASE_OK)
		return status;
	for (size_t i = 0; i < count && status == DATABASE_OK; i++) {
		const struct envelope *envelope = &message->envelope;

		status = intake_add_foreign(cluster->intake, envelope->origin,
					    (struct slice){envelope->topic, envelope->topic_len},
					    envelope->payload);
		message = STAILQ_NEXT(message, entry);
	}
	return cluster_store_end(cluster->store, status, NULL);
}

static void pause_or_resume(struct channel *channel)
{
	bool is_full = channel->count >= WAITING_MAX || channel->bytes >= WAITING_MAX_BYTES;

	bool has_room =
		channel->count <= WAITING_MAX / 2 && channel->bytes <= WAITING_MAX_BYTES / 2;

	if (channel->is_paused ? !has_room : !is_full)
		return;
	channel->is_paused = !channel->is_paused;
	link_pause(channel->cluster->link, channel->is_paused);
}

static void on_apply(uv_timer_t *timer)
{
	struct channel *channel = timer->data;
	size_t count = gather(channel);

	if (count > 0) {
		if (add_events(channel, count) != DATABASE_OK) {
			apply_after(channel, RETRY_MS);
			return;
		}
		notify_gateway(channel->cluster->notify);
		channel->cluster->counters.counts[COUNT_CLUSTER_RECEIVED] += (int64_t)count;
		for (size_t i = 0; i < count; i++)
			remove_first(channel);
		apply_after(channel, 0);
	}
	pause_or_resume(channel);
}

/* Without reading all of it: nearly every message is one of ours, in the form that ours have. */
static bool is_of_ours(const struct channel *channel, struct slice bytes)
{
	static const char head[] = "{\"origin_id\":\"";
	size_t head_len = strlen(head);
	const struct known_node *node;

	if (bytes.len < head_len + NODE_ID_LEN + 1 || memcmp(bytes.at, head, head_len) != 0 ||
	    bytes.at[head_len + NODE_ID_LEN] != '"')
		return false;
	node = find_node(channel, bytes.at + head_len);
	return node && node->is_ours;
}

void channel_on_message(struct channel *channel, const redisReply *message)
{
	struct slice bytes = redis_bytes(message);
	enum envelope_fault fault = ENVELOPE_MALFORMED;
	struct envelope envelope;
	struct message *waiting;

	if (message->type == REDIS_REPLY_STRING) {
		if (is_of_ours(channel, bytes))
			return;
		fault = envelope_read(bytes, &envelope);
	}
	if (fault != ENVELOPE_GOOD) {
		refused_count(&channel->cluster->refused, envelope_counter(fault), "channel");
		return;
	}
	waiting = xcalloc(1, sizeof(*waiting) + envelope.payload.len);
	waiting->envelope = envelope;
	memcpy(waiting->payload, envelope.payload.at, envelope.payload.len);
	waiting->envelope.payload.at = waiting->payload;
	STAILQ_INSERT_TAIL(&channel->waiting, waiting, entry);
	channel->count++;
	channel->bytes += envelope.payload.len;
	apply_after(channel, 0);
	pause_or_resume(channel);
}

struct channel *channel_new(struct cluster *cluster)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));

	channel->cluster = cluster;
	STAILQ_INIT(&channel->waiting);
	uv_timer_init(&cluster->loop, &channel->apply);
	channel->apply.data = channel;
	return channel;
}

void channel_free(struct channel *channel)
{
	if (!channel)
		return;
	while (!STAILQ_EMPTY(&channel->waiting))
		remove_first(channel);
	uv_close((uv_handle_t *)&channel->apply, free_data);
}

/* A node of ours remains one. Another may have become one. */
void channel_on_link(struct channel *channel)
{
	for (size_t i = 0; i < KNOWN_MAX; i++)
		if (!channel->known[i].is_ours)
			channel->known[i].id[0] = '\0';
	if (!find_node(channel, channel->cluster->node))
		learn(channel, channel->cluster->node, true);
	apply_after(channel, 0);
}

/* What a foreign node has sent stays, and is added. Of what is not known to be one's nobody can be
 * asked any more: the next Redis may know less. If it is one of ours, it is in the log. */
void channel_on_link_lost(struct channel *channel)
{
	for (size_t left = channel->count; left > 0; left--) {
		struct message *message = STAILQ_FIRST(&channel->waiting);

		if (!find_node(channel, message->envelope.origin)) {
			remove_first(channel);
			continue;
		}
		STAILQ_REMOVE_HEAD(&channel->waiting, entry);
		STAILQ_INSERT_TAIL(&channel->waiting, message, entry);
	}
	channel->asked[0] = '\0';
	channel->is_paused = false; /* the next one is not */
}
