/*
 * The life of one connection, see session.h. State: in each session, and the gateway's list of
 * them. Never blocks; a connection that cannot be written to is dropped, its neighbours go on.
 */
#include "gateway/session.h"

#include "gateway/gateway.h"
#include "gateway/message.h"
#include "gateway/peer.h"
#include "gateway/session_internal.h"
#include "shared/alloc.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/topic_name.h"

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct session *session_of(struct subscriber *subscriber)
{
	return container_of(subscriber, struct session, subscriber);
}

static void log_connection(const struct session *session, const char *what)
{
	char address[CLIENT_ADDRESS_TEXT_SIZE];
	size_t topic_len = 0;

	if (!session->gateway->config->log_connections || !session->subscriber.topic)
		return;
	const char *topic = topic_name(session->subscriber.topic, &topic_len);
	client_address_format(&session->address, address);
	log_event(LOG_INFO, what, log_text("address", address),
		  log_bytes("topic", topic, topic_len), log_number("user", session->user_id));
}

struct session *session_new(struct gateway *gateway, struct lws *peer, const char *topic,
			    size_t topic_len, const struct client_address *address)
{
	struct session *session = xcalloc(1, sizeof(*session));

	session->gateway = gateway;
	session->peer = peer;
	session->topic = xstrndup(topic, topic_len);
	session->topic_len = (uint16_t)topic_len;
	session->address = *address;
	session->state = SESSION_WAITING;
	session->next = gateway->sessions;
	if (session->next)
		session->next->previous = session;
	gateway->sessions = session;
	gateway->session_count++;
	deadlines_set(gateway->deadlines, &session->deadline, clock_monotonic_ms() + AUTH_LIMIT_MS);
	return session;
}

/* Out of everything that could still call it. */
static void leave(struct session *session)
{
	if (session->subscriber.topic) {
		log_connection(session, "disconnected");
		presence_leave(session->gateway->presence,
			       session->slot); /* it borrows the topic */
		subscriptions_remove(session->gateway->subscriptions, &session->subscriber);
	}
	deadlines_clear(session->gateway->deadlines, &session->deadline);
	free(session->partial);
	session->partial = NULL;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	leave(session);
	if (session->next)
		session->next->previous = session->previous;
	if (session->previous)
		session->previous->next = session->next;
	else
		session->gateway->sessions = session->next;
	session->gateway->session_count--;
	outbox_free(session->outbox);
	free(session->topic);
	free(session);
}

static void drop(struct session *session)
{
	leave(session);
	session->state = SESSION_ENDING;
	session->close_sent = true; /* nothing more is written */
	peer_drop(session->peer);
}

static void queue(struct session *session, struct frame *frame)
{
	const struct config *config = session->gateway->config;

	if (!session->outbox)
		session->outbox = outbox_new();
	session->gateway->dropped_pushes +=
		(int64_t)outbox_push(session->outbox, frame, (size_t)config->outbox_max_frames,
				     (size_t)config->outbox_max_bytes);
	peer_want_write(session->peer);
}

void session_send(struct session *session, struct frame *frame)
{
	if (outbox_count(session->outbox) > 0 || !peer_is_idle(session->peer))
		queue(session, frame);
	else if (!peer_send(session->peer, frame))
		drop(session);
}

/* Sends the Close frame when nothing is left to be sent before it. */
static void close_if_drained(struct session *session)
{
	if (session->state != SESSION_ENDING || session->close_sent)
		return;
	if (outbox_count(session->outbox) > 0 || !peer_is_idle(session->peer)) {
		peer_want_write(session->peer);
		return;
	}
	session->close_sent = true;
	if (!peer_close(session->peer, session->close_code))
		drop(session);
}

void session_end(struct session *session, enum close_code code, const char *last_words)
{
	if (session->state == SESSION_ENDING)
		return;
	leave(session);
	session->state = SESSION_ENDING;
	session->close_code = (uint16_t)code;
	deadlines_set(session->gateway->deadlines, &session->deadline,
		      clock_monotonic_ms() + CLOSE_LIMIT_MS);
	if (last_words) {
		struct frame *frame = frame_of_text(last_words);

		session_send(session, frame);
		frame_release(frame);
	}
	close_if_drained(session);
}

bool session_is_closing(const struct session *session)
{
	return session->close_sent;
}

void session_on_writable(struct session *session)
{
	while (outbox_count(session->outbox) > 0 && peer_is_idle(session->peer)) {
		struct frame *frame = outbox_pop(session->outbox);
		bool sent = peer_send(session->peer, frame);

		frame_release(frame);
		if (!sent) {
			drop(session);
			return;
		}
	}
	if (outbox_count(session->outbox) > 0 || !peer_is_idle(session->peer)) {
		peer_want_write(session->peer);
		return;
	}
	outbox_free(session->outbox); /* it has caught up */
	session->outbox = NULL;
	close_if_drained(session);
}

void session_on_message(struct session *session, const char *bytes, size_t len, bool is_text,
			bool is_final)
{
	session->heard_ms = clock_monotonic_ms();
	if (session->state == SESSION_ENDING)
		return;
	if (session->partial_len + len > MESSAGE_MAX_BYTES) {
		session_end(session, CLOSE_TOO_BIG, NULL);
		return;
	}
	if (!is_final || session->partial) {
		if (!session->partial)
			session->partial = xcalloc(1, MESSAGE_MAX_BYTES);
		memcpy(session->partial + session->partial_len, bytes, len);
		session->partial_len = (uint16_t)(session->partial_len + len);
	}
	if (!is_final)
		return;

	char *whole = session->partial;
	size_t whole_len = whole ? session->partial_len : len;
	session->partial = NULL;
	session->partial_len = 0;
	if (is_text)
		authentication_on_message(session, whole ? whole : bytes, whole_len);
	else if (session->state == SESSION_WAITING)
		authentication_refuse(session);
	free(whole);
}

void session_on_pong(struct session *session)
{
	session->heard_ms = clock_monotonic_ms();
}

void session_schedule(struct session *session)
{
	int64_t due_ms = session->ping_at_ms;

	if (session->expires_s > 0) {
		int64_t now_s = clock_wall_ms() / 1000;
		int64_t left_s = session->expires_s - now_s; /* no overflow: both are positive */

		if (left_s < PING_EVERY_MS / 1000) {
			int64_t left_ms = (session->expires_s + 1) * 1000 - clock_wall_ms();
			int64_t expiry_ms = clock_monotonic_ms() + (left_ms > 0 ? left_ms : 0);
			due_ms = expiry_ms < due_ms ? expiry_ms : due_ms;
		}
	}
	deadlines_set(session->gateway->deadlines, &session->deadline, due_ms);
}

static void on_deadline(struct session *session, int64_t now_ms)
{
	if (session->state == SESSION_WAITING) {
		session_end(session, CLOSE_POLICY, NULL);
		return;
	}
	if (session->state == SESSION_ENDING || now_ms - session->heard_ms >= SILENCE_LIMIT_MS) {
		drop(session);
		return;
	}
	if (authentication_is_over(session)) {
		session_end(session, CLOSE_POLICY, MESSAGE_AUTH_EXPIRED);
		return;
	}
	if (now_ms >= session->ping_at_ms) {
		if (!peer_ping(session->peer)) {
			drop(session);
			return;
		}
		session->ping_at_ms = now_ms + PING_EVERY_MS;
	}
	session_schedule(session);
}

void session_on_deadlines(struct gateway *gateway)
{
	int64_t now_ms = clock_monotonic_ms();
	struct deadline *due;

	while ((due = deadlines_pop(gateway->deadlines, now_ms)))
		on_deadline(container_of(due, struct session, deadline), now_ms);
}

void session_deliver(struct session *session, struct frame *frame, int64_t event_id)
{
	if (event_id <= session->after_id)
		return;
	session->after_id = event_id;
	session_send(session, frame);
}

void session_unregister(struct session *session, int64_t event_id)
{
	if (event_id > session->after_id)
		session_end(session, CLOSE_NORMAL, MESSAGE_TOPIC_UNREGISTERED);
}

void session_answer_status(struct gateway *gateway, const struct service_counts *counts)
{
	struct topic *topic =
		subscriptions_find(gateway->subscriptions, TOPIC_STATUS, strlen(TOPIC_STATUS));
	char text[MESSAGE_STATUS_SIZE];
	size_t count;

	if (!topic)
		return;
	struct subscriber *const *subscribers = topic_subscribers(topic, &count);
	struct message_status status = {
		.uptime_s = counts->uptime_s,
		.registered_topics = counts->registered_topics,
		.active_topics = counts->active_topics,
		.connected_clients = counts->connected_clients,
		.connected_sockets = counts->connected_sockets,
		.cluster_nodes = counts->cluster_nodes,
	};
	struct frame *frame = frame_new(message_status_write(text, &status));
	memcpy(frame->bytes, text, frame->len);
	for (size_t i = count; i-- > 0;) {
		struct session *session = session_of(subscribers[i]);

		if (session->wants_status) {
			session->wants_status = false;
			session_send(session, frame);
		}
	}
	frame_release(frame);
}

void session_end_all(struct gateway *gateway)
{
	for (struct session *session = gateway->sessions; session; session = session->next) {
		outbox_free(session->outbox); /* nothing else is sent */
		session->outbox = NULL;
		session_end(session, CLOSE_GOING_AWAY, NULL);
	}
}

void session_drop_all(struct gateway *gateway)
{
	for (struct session *session = gateway->sessions; session; session = session->next)
		drop(session);
}
