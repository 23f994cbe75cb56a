/*
 * All clients, see clients.h. State: the parts that they share, and the list of them. Never blocks.
 */
#include "gateway/client/clients.h"

#include <uv.h>

#include "gateway/client/client_internal.h"
#include "gateway/client/peer.h"
#include "gateway/client/replay.h"
#include "gateway/client/session.h"
#include "gateway/events/fanout.h"
#include "gateway/events/wakeup.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/contract/message.h"
#include "shared/contract/topic_name.h"
#include "shared/counters/gauges.h"

/* A turn ends after TURN_NS, in the middle of a fan-out too, so that sockets are looked at again. A
 * look reads no more than fits well within an outbox. GATHER_MS pass between two looks when pushes
 * have had to wait for one another, if that saves GATHER_DELIVERIES or more, and when events come
 * less than EVENT_NS apart. */
enum {
	TURN_NS = 4000000,
	LOOK_ROWS = 1024,
	LOOK_BYTES = 131072,
	LOOK_SHARE = 4, /* of an outbox */
	GATHER_MS = 2,
	EVENT_NS = 100000,
	GATHER_DELIVERIES = 128
};

struct clients *clients_open(const struct clients_parts *parts)
{
	struct clients *clients = xcalloc(1, sizeof(*clients));

	clients->config = parts->config;
	clients->counters = parts->counters;
	clients->tally = parts->tally;
	clients->presence = parts->presence;
	clients->registry = parts->registry;
	clients->feed = parts->feed;
	clients->look_position = feed_position(parts->feed);
	clients->audience = audience_new(parts->presence);
	clients->fanout =
		fanout_new(parts->feed, clients->audience, parts->presence, parts->counters);
	clients->replays = replays_new(parts->loop, parts->feed, session_replay);
	clients->auth_ok = frame_of_text(MESSAGE_AUTH_OK);
	LIST_INIT(&clients->sessions);
	pending_list_init(&clients->pending);
	if (clients_configure(clients))
		return clients;
	clients_close(clients);
	return NULL;
}

void clients_close(struct clients *clients)
{
	if (!clients)
		return;
	frame_release(clients->auth_ok);
	replays_free(clients->replays);
	fanout_free(clients->fanout);
	audience_free(clients->audience);
	auth_keys_clear(&clients->keys);
	free(clients);
}

bool clients_configure(struct clients *clients)
{
	const struct config *config = clients->config;

	clients->pool.max_bytes = (size_t)config->outbox_total_max_bytes;
	clients_reschedule(clients);
	return auth_keys_set(&clients->keys, config->worker_secret, config->worker_secret_previous);
}

static struct session *session_of(const struct fanout_step *step, struct subscriber *subscriber)
{
	return step->batch->topic_len > 0
		       ? container_of(subscriber, struct session, member.by_topic)
		       : container_of(subscriber, struct session, member.by_user);
}

/* Meanwhile those of the next step are fetched, so that they are in the cache by then. */
static void carry_out(const struct fanout_step *step)
{
	enum { CACHE_LINE = 64 };
	size_t next = step->to_come < step->count ? step->to_come : step->count;

	if (step->batch->kind == EVENT_PUSH) {
		for (size_t i = step->count; i-- > 0;)
			peer_prefetch(session_of(step, step->subscribers[i])->peer);
		for (size_t i = 1; i <= next; i++) {
			const struct session *session = session_of(step, *(step->subscribers - i));

			__builtin_prefetch(session);
			__builtin_prefetch((const char *)session + CACHE_LINE);
		}
	}
	for (size_t i = step->count; i-- > 0;)
		session_deliver(session_of(step, step->subscribers[i]), step->batch);
}

/* Events were gone before they could be handed out: whoever may have missed one is sent away, or
 * has lost it for good. Any of the orders may have been meant for anybody; where a whole database
 * has gone, nobody knows what was in it. */
static void tell_of_gap(struct clients *clients, int64_t gap_after, bool is_another)
{
	int64_t order_id = is_another ? INT64_MAX : feed_pruned_id(clients->feed, "", 0);
	int64_t closed = 0, drops = 0;
	struct session *session;

	LIST_FOREACH(session, &clients->sessions, entry)
	{
		const struct topic *topic = session->member.by_topic.topic;

		if (!topic)
			continue;
		bool has_missed = (!session->replay || replay_has_caught_up(session->replay)) &&
				  feed_pruned_id(clients->feed, topic->name, topic->name_len) >
					  session->after_id;
		if ((has_missed && session->is_resumable) ||
		    (order_id > gap_after && order_id > session->ordered_after_id)) {
			session_end(session, ENDING_PRUNED);
			closed++;
		} else if (has_missed) {
			clients->counters->counts[COUNT_DROP_PRUNED]++;
			drops++;
		}
	}
	if (!is_another && closed + drops == 0)
		return;
	log_event(LOG_WARN, "events were gone before they were handed out",
		  log_text("cause", is_another ? "another database" : "pruned"),
		  log_number("after", gap_after), log_number("closed", closed),
		  log_number("drops", drops));
}

/* Events of another node are missing, on any topics: whoever has not had them elsewhere is sent
 * away, or has lost them. */
static void tell_of_missing(struct clients *clients, struct fanout_gap gap)
{
	int64_t closed = 0, drops = 0;
	struct session *session;

	LIST_FOREACH(session, &clients->sessions, entry)
	{
		if (session->state != SESSION_OPEN || session->ordered_after_id >= gap.id ||
		    (session->replay && replay_covers(session->replay, gap.node, gap.number)))
			continue;
		if (session->is_resumable) {
			session_end(session, ENDING_PRUNED);
			closed++;
		} else {
			clients->counters->counts[COUNT_DROP_PRUNED]++;
			drops++;
		}
	}
	log_event(LOG_WARN, "events of another node are missing", log_number("closed", closed),
		  log_number("drops", drops));
}

int clients_look(void *context)
{
	struct clients *clients = context;
	struct fanout *fanout = clients->fanout;
	int64_t bytes = clients->config->outbox_max_bytes / LOOK_SHARE;
	int64_t frames = clients->config->outbox_max_frames / LOOK_SHARE;
	const struct fanout_limits limits = {
		.rows = LOOK_ROWS,
		.bytes = (size_t)(bytes < LOOK_BYTES ? bytes : LOOK_BYTES),
		.pushes = frames > 0 ? (size_t)frames : 1,
	};
	uint64_t start_ns = uv_hrtime();
	struct fanout_step step;

	if (fanout_look(fanout, limits)) {
		int64_t position = feed_position(clients->feed);
		bool is_another;
		int64_t gap_after = feed_gap(clients->feed, &is_another);

		clients->look_deliveries = 0;
		clients->is_busy = (uint64_t)(position - clients->look_position) * EVENT_NS >
				   start_ns - clients->look_ns;
		clients->look_position = position;
		clients->look_ns = start_ns;
		if (gap_after > 0)
			tell_of_gap(clients, gap_after, is_another);
		struct fanout_gap gap = fanout_gap(fanout);
		if (gap.id > 0)
			tell_of_missing(clients, gap);
	}
	while (uv_hrtime() < start_ns + TURN_NS && fanout_next(fanout, &step)) {
		carry_out(&step);
		clients->look_deliveries += step.count * step.batch->count;
	}
	if (fanout_has_more(fanout))
		return 0;
	return clients->is_busy || (fanout_has_joined(fanout) &&
				    clients->look_deliveries >= GATHER_DELIVERIES)
		       ? GATHER_MS
		       : WAKEUP_WHEN_TAPPED;
}

void clients_on_tick(struct clients *clients)
{
	int64_t now_ms = clock_monotonic_ms();
	struct deadline *due;

	while ((due = deadlines_pop(&clients->deadlines, now_ms)))
		session_on_deadline(container_of(due, struct session, deadline), now_ms);
}

void clients_reschedule(struct clients *clients)
{
	struct session *session;

	LIST_FOREACH(session, &clients->sessions, entry)
	if (session->state == SESSION_OPEN)
		session_schedule(session);
}

void clients_answer_status(struct clients *clients, const struct gauges *gauges)
{
	struct topic *topic =
		audience_of_topic(clients->audience, TOPIC_STATUS, strlen(TOPIC_STATUS));
	struct frame *frame = frame_of_status(gauges);

	for (size_t i = topic ? topic->count : 0; i-- > 0;) {
		struct session *session =
			container_of(topic->subscribers[i], struct session, member.by_topic);

		if (session->wants_status)
			session_send(session, frame);
		session->wants_status = false;
	}
	frame_release(frame);
}

size_t clients_count(const struct clients *clients)
{
	return clients->session_count;
}

size_t clients_outbox_bytes(const struct clients *clients)
{
	return clients->pool.bytes;
}

struct pending_list *clients_pending(struct clients *clients)
{
	return &clients->pending;
}

void clients_end_all(struct clients *clients, bool is_late)
{
	struct session *session;

	LIST_FOREACH(session, &clients->sessions, entry)
	(is_late ? session_drop : session_end_unsent)(session, ENDING_SHUTDOWN);
}

void clients_end_some(struct clients *clients, size_t left)
{
	struct session *session;
	size_t open = 0;

	LIST_FOREACH(session, &clients->sessions, entry)
	open += session->state != SESSION_ENDING;
	LIST_FOREACH(session, &clients->sessions, entry)
	{
		if (open <= left)
			return;
		if (session->state == SESSION_ENDING)
			continue;
		session_end(session, ENDING_SHUTDOWN);
		open--;
	}
}
