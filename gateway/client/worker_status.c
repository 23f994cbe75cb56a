/*
 * The status frames of worker.status: who has asked, and the answer when the database thread has
 * counted. State: in the sessions that asked. Never blocks.
 */
#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/session_internal.h"
#include "shared/base/clock.h"
#include "shared/contract/topic_name.h"

void session_ask_status(struct session *session)
{
	int64_t now_ms = clock_monotonic_ms();
	size_t topic_len;
	const char *topic = topic_name(session->subscriber.topic, &topic_len);

	if (!topic_name_is_reserved(topic, topic_len) || session->wants_status ||
	    (session->status_at_ms && now_ms - session->status_at_ms < STATUS_EVERY_MS))
		return;
	session->status_at_ms = now_ms;
	session->wants_status = true;
	presence_count(session->gateway->presence);
}

static struct frame *status_frame(const struct gauges *counts)
{
	struct message_status status = {
		.uptime_s = counts->uptime_s,
		.registered_topics = counts->registered_topics,
		.active_topics = counts->active_topics,
		.connected_clients = counts->connected_clients,
		.connected_sockets = counts->connected_sockets,
		.cluster_nodes = counts->cluster_nodes,
	};
	struct frame *frame = frame_new(MESSAGE_STATUS_SIZE);

	frame->len = message_status_write(frame->bytes, &status);
	return frame;
}

void session_answer_status(struct gateway *gateway, const struct gauges *counts)
{
	struct topic *topic =
		subscriptions_find(gateway->audience.topics, TOPIC_STATUS, strlen(TOPIC_STATUS));
	struct frame *frame = topic ? status_frame(counts) : NULL;
	size_t count = 0;

	if (!topic)
		return;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);
	for (size_t i = count; i-- > 0;) {
		struct session *session = session_of(subscribers[i]);

		if (session->wants_status) {
			session->wants_status = false;
			session_send(session, frame);
		}
	}
	frame_release(frame);
}
