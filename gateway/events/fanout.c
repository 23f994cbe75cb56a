/*
 * Events to subscribers, see fanout.h. No state of its own; never blocks. A database that cannot be
 * read is tried again a second later: nothing is skipped.
 */
#include "gateway/events/fanout.h"

#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/session.h"
#include "shared/base/clock.h"

enum {
	BATCH = 64, /* events before sockets are looked at again */
	/* Turns ahead: a session is fetched into the cache, and then what it points to. */
	FAR = 4,
	NEAR = 2
};

static struct frame *push_frame(struct feed_event *event, int64_t id)
{
	struct frame *frame = frame_new(message_push_max(event->payload_len));

	frame->len = message_push_write(frame->bytes, id, event->payload, event->payload_len);
	frame->is_push = true;
	return frame;
}

/* The payload was read, and is framed, once for all who get it alike: with its id, or without. */
static void push(struct topic *topic, struct feed_event *event)
{
	struct frame *frames[2] = {NULL, NULL};
	size_t count;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);

	for (size_t i = count; i-- > 0;) {
		struct session *session = session_of(subscribers[i]);
		if (i >= FAR)
			session_prefetch(session_of(subscribers[i - FAR]));
		if (i >= NEAR)
			session_prefetch_peer(session_of(subscribers[i - NEAR]));
		bool with_id = session_is_resumable(session);

		if (!frames[with_id])
			frames[with_id] = push_frame(event, with_id ? event->id : 0);
		session_deliver(session, frames[with_id], event->id);
	}
	frame_release(frames[0]);
	frame_release(frames[1]);
}

/* The time is kept to the millisecond: up to one too much, and 0 when a clock was set back. */
static int64_t age_us(int64_t created_ms)
{
	int64_t now_us = clock_wall_us();

	return created_ms >= 0 && created_ms <= now_us / 1000 ? now_us - created_ms * 1000 : 0;
}

/* The push, and how long it took: the reading and writing, and all of it since the publish. */
static void push_and_account(struct gateway *gateway, struct topic *topic, struct feed_event *event)
{
	struct histogram *latencies = gateway->counters.latencies;
	int64_t start_us = clock_monotonic_us();

	if (!feed_payload(event))
		return; /* it comes again */
	push(topic, event);
	histogram_add(&latencies[LATENCY_FANOUT], clock_monotonic_us() - start_us);
	histogram_add(&latencies[LATENCY_DELIVERY], age_us(event->created_ms));
}

static void unregister(struct topic *topic, const struct feed_event *event)
{
	size_t count;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);

	for (size_t i = count; i-- > 0;)
		session_unregister(session_of(subscribers[i]), event->id);
}

static void disconnect(struct gateway *gateway, struct topic *topic, const struct feed_event *event)
{
	size_t count = 0;
	struct subscriber *const *subscribers = topic ? topic_subscribers(topic, &count) : NULL;

	if (event->topic_len == 0)
		session_disconnect_user(gateway, event->id, event->user_id);
	for (size_t i = count; i-- > 0;)
		session_disconnect(session_of(subscribers[i]), event->id,
				   event->has_user ? &event->user_id : NULL);
}

static void hand_out(void *context, struct feed_event *event)
{
	struct gateway *gateway = context;
	struct topic *topic =
		subscriptions_find(gateway->audience.topics, event->topic, event->topic_len);

	switch (event->kind) {
	case EVENT_PUSH:
		if (topic)
			push_and_account(gateway, topic, event);
		break;
	case EVENT_UNREGISTER:
		if (topic)
			unregister(topic, event);
		break;
	case EVENT_DISCONNECT:
		disconnect(gateway, topic, event);
		break;
	case EVENT_DATABASE_MADE:
		break;
	}
}

static void note_trouble(struct gateway *gateway, enum database_status status)
{
	struct log_repeat *trouble = &gateway->feed_trouble;

	if (status != DATABASE_OK) {
		log_repeat_event(trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)),
				 log_text("sqlite", database_error(gateway->database)));
	} else if (trouble->is_on || trouble->unsaid > 0) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "events can be read again");
		log_repeat_tick(trouble, clock_monotonic_ms());
	}
}

bool fanout_look(void *context)
{
	struct gateway *gateway = context;
	bool more = false;
	enum database_status status = feed_poll(gateway->feed, BATCH, hand_out, gateway, &more);

	note_trouble(gateway, status);
	presence_position(gateway->presence, feed_position(gateway->feed));
	return more && status == DATABASE_OK;
}
