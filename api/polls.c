/*
 * Polls, see polls.h. State: prepared statements, the keys of tokens, and an account of each
 * address in a table of fixed size. Reads only, so it never waits for writers, and never writes.
 */
#include "api/polls.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/contract/forwarded_for.h"
#include "shared/database/feed.h"
#include "shared/database/nodes.h"
#include "shared/database/registry.h"

enum { ACCOUNT_BITS = 10, ACCOUNTS = 1 << ACCOUNT_BITS, HEAD_ROOM = MESSAGE_RESUMED_SIZE + 16 };

struct polls {
	const struct config *config;
	struct nodes *nodes; /* NULL: there is no redis_url */
	struct registry *registry;
	struct feed *feed;
	struct auth_keys keys;
	struct account {
		uint64_t who;
		int64_t paid_us;
	} accounts[ACCOUNTS];
};

struct polls *polls_open(const struct config *config, struct database *database,
			 char why[DATABASE_WHY_SIZE])
{
	struct polls *polls = xcalloc(1, sizeof(*polls));

	polls->config = config;
	polls_configure(polls);
	if (*config->redis_url)
		polls->nodes = nodes_new(database);
	polls->registry = registry_new(database, polls->nodes);
	polls->feed = feed_open(database, polls->nodes, why);
	if (polls->feed)
		return polls;
	polls_close(polls);
	return NULL;
}

void polls_close(struct polls *polls)
{
	if (!polls)
		return;
	feed_close(polls->feed);
	registry_free(polls->registry);
	nodes_free(polls->nodes);
	auth_keys_clear(&polls->keys);
	free(polls);
}

void polls_configure(struct polls *polls)
{
	auth_keys_set(&polls->keys, polls->config->worker_secret,
		      polls->config->worker_secret_previous);
}

/* Two addresses in one place of the table take it from each other: a limit that is too lax for a
 * moment is better than one that hits a stranger. */
bool polls_allow(struct polls *polls, const char *address, const char *forwarded_for)
{
	struct client_address client = {0};

	client_address_parse(address, strlen(address), &client);
	client = forwarded_for_resolve(polls->config->trusted_proxies, client, forwarded_for,
				       strlen(forwarded_for));
	if (client_address_is_unknown(&client))
		return true;
	uint64_t who = client_address_key(&client);
	const uint64_t golden = 0x9E3779B97F4A7C15; /* Knuth's multiplicative hash */
	struct account *account = &polls->accounts[who * golden >> (64 - ACCOUNT_BITS)];
	if (account->who != who)
		*account = (struct account){.who = who};
	return message_rate_take(&account->paid_us, clock_monotonic_ms(), polls->config->poll_rate);
}

/* The pushes of an answer as they are found, after room for what comes before them. */
struct pushes {
	char *text;
	size_t len, size;
	int count;
};

static void add(struct pushes *pushes, const char *bytes, size_t len)
{
	if (pushes->len + len > pushes->size) {
		pushes->size = 2 * (pushes->len + len);
		pushes->text = xreallocarray(pushes->text, pushes->size, 1);
	}
	memcpy(pushes->text + pushes->len, bytes, len);
	pushes->len += len;
}

static bool add_push(void *context, struct feed_event *event)
{
	struct pushes *pushes = context;
	char head[32 + POSITION_TEXT_SIZE], id[POSITION_TEXT_SIZE];

	if (pushes->count == POLL_PUSHES_MAX || !feed_payload(event))
		return false;
	feed_event_id(event, id);
	int head_len = snprintf(head, sizeof(head),
				"%s{\"id\":%s,\"payload\":", pushes->count > 0 ? "," : "", id);
	size_t len = (size_t)head_len + event->payload_len + 1;
	if (pushes->count > 0 && pushes->len - HEAD_ROOM + len > POLL_BYTES_MAX)
		return false; /* it will be the first of the next answer */
	add(pushes, head, (size_t)head_len);
	add(pushes, event->payload, event->payload_len);
	add(pushes, "}", 1);
	pushes->count++;
	return true;
}

/* The whole answer: {"type":"auth_ok",...,"pushes":[...]} */
static void finish(struct poll *poll, struct pushes *pushes, const struct position *position,
		   bool recovered, bool has_more)
{
	const char *tail = has_more ? "],\"more\":true}" : "]}";
	char head[HEAD_ROOM];
	size_t len = message_resumed_write(head, position, recovered) - 1; /* its last brace */

	len += (size_t)snprintf(head + len, sizeof(head) - len, ",\"pushes\":[");
	add(pushes, tail, strlen(tail));
	memmove(pushes->text + len, pushes->text + HEAD_ROOM, pushes->len - HEAD_ROOM);
	memcpy(pushes->text, head, len);
	poll->text = pushes->text;
	poll->len = pushes->len - HEAD_ROOM + len;
}

/* Where the poll leaves the client, who has had all up to event `id`. */
static void settle(struct position *position, struct client_position *client, int64_t id,
		   const struct position *here)
{
	if (id < here->id) { /* there is more */
		if (client)
			*position = client->position;
		position->id = id;
		return;
	}
	*position = *here;
	if (client) /* who may have had elsewhere what has yet to come here */
		position_add(position, &client->position);
}

enum database_status polls_ask(struct polls *polls, const char *topic, size_t topic_len,
			       const struct message *message, struct poll *poll)
{
	const struct position *asked = &message->last_event_id;
	struct registered_topic found;
	struct token_claims claims;
	struct pushes pushes = {0};
	struct client_position client;
	struct position position;
	enum database_status status =
		registry_find(polls->registry, topic, topic_len, asked, &found);

	*poll = (struct poll){.is_registered = found.registered};
	if (status != DATABASE_OK || !found.registered)
		return status;
	poll->verdict =
		auth_judge(&polls->keys, message, topic, topic_len, found.require_token, &claims);
	if (poll->verdict != AUTH_GOOD)
		return DATABASE_OK;
	bool from_now = message->resume != MESSAGE_RESUME_AFTER;
	bool recovered = from_now || found.can_recover;
	bool goes_on = !from_now && recovered;
	int64_t newest_id = found.here.id;
	bool given_here = asked->node == found.here.node;
	poll->is_quiet = goes_on && given_here && asked->id == newest_id;
	if (poll->is_quiet)
		return DATABASE_OK;
	struct feed_batch batch = {
		.topic = topic,
		.topic_len = topic_len,
		.position = goes_on ? found.after_id : newest_id,
		.until = newest_id,
		.max_rows = POLL_ROWS_MAX,
	};
	if (goes_on && polls->nodes) {
		client_position_begin(&client, asked, found.here.node, found.after_id, newest_id);
		batch.client = &client;
	}
	add(&pushes, (char[HEAD_ROOM]){0}, HEAD_ROOM);
	if (batch.position < batch.until)
		status = feed_replay(polls->feed, &batch, add_push, &pushes);
	poll->is_quiet = goes_on && given_here && pushes.count == 0 &&
			 batch.position == batch.until &&
			 batch.until - asked->id <= POLL_BEHIND_MAX;
	position_set_number(&position, 0);
	settle(&position, batch.client, batch.position, &found.here);
	finish(poll, &pushes, &position, recovered, batch.position < batch.until);
	return status;
}
