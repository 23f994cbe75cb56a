/*
 * Events to subscribers, see fanout.h. No state of its own; never blocks. A database that cannot be
 * read is tried again a second later: nothing is skipped.
 */
#include "gateway/fanout.h"

#include "gateway/gateway.h"
#include "gateway/message.h"
#include "gateway/session.h"
#include "shared/log.h"

enum { BATCH = 64 }; /* events before sockets are looked at again */

static struct frame *push_frame(struct feed_event *event, int64_t id)
{
	struct frame *frame = frame_new(message_push_max(event->payload_len));

	frame->len = message_push_write(frame->bytes, id, event->payload, event->payload_len);
	frame->is_push = true;
	return frame;
}

/* The payload is read and framed once for all who get it alike: with its id, or without. */
static void push(struct topic *topic, struct feed_event *event)
{
	struct frame *frames[2] = {NULL, NULL};
	size_t count;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);

	feed_payload(event);
	for (size_t i = count; i-- > 0;) {
		struct session *session = session_of(subscribers[i]);
		bool with_id = session_is_resumable(session);

		if (!frames[with_id])
			frames[with_id] = push_frame(event, with_id ? event->id : 0);
		session_deliver(session, frames[with_id], event->id);
	}
	frame_release(frames[0]);
	frame_release(frames[1]);
}

static void unregister(struct topic *topic, const struct feed_event *event)
{
	size_t count;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);

	for (size_t i = count; i-- > 0;)
		session_unregister(session_of(subscribers[i]), event->id);
}

static void hand_out(void *context, struct feed_event *event)
{
	struct gateway *gateway = context;
	struct topic *topic =
		subscriptions_find(gateway->subscriptions, event->topic, event->topic_len);

	if (!topic)
		return;
	switch (event->kind) {
	case EVENT_PUSH:
		push(topic, event);
		break;
	case EVENT_UNREGISTER:
		unregister(topic, event);
		break;
	case EVENT_DISCONNECT:
	case EVENT_DATABASE_MADE:
		break;
	}
}

/* Only the change is worth a line. */
static void note_trouble(struct gateway *gateway, enum database_status status)
{
	bool trouble = status != DATABASE_OK;

	if (trouble == gateway->feed_in_trouble)
		return;
	gateway->feed_in_trouble = trouble;
	if (trouble)
		log_event(LOG_ERROR, "cannot read events",
			  log_text("why", database_status_text(status)),
			  log_text("sqlite", database_error(gateway->database)));
	else
		log_event(LOG_INFO, "events can be read again");
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
