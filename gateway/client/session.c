/*
 * The life of one connection, see session.h. State: in each session, and the gateway's list of
 * them. Never blocks; a connection that cannot be written to is dropped, its neighbours go on.
 */
#include "gateway/client/session.h"

#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/message_rate.h"
#include "gateway/client/peer.h"
#include "gateway/client/replay.h"
#include "gateway/client/session_internal.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/contract/topic_name.h"
#include "shared/base/utf8.h"

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct session *session_of(struct subscriber *subscriber)
{
	return container_of(subscriber, struct session, subscriber);
}

struct session *session_of_user(struct subscriber *subscriber)
{
	return container_of(subscriber, struct session, by_user);
}

void session_log(const struct session *session, const char *what)
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
	session->fd = peer_fd(peer);
	session->topic = xstrndup(topic, topic_len);
	session->topic_len = (uint16_t)topic_len;
	session->address = *address;
	session->state = SESSION_WAITING;
	session->next = gateway->sessions;
	if (session->next)
		session->next->previous = session;
	gateway->sessions = session;
	gateway->session_count++;
	session->pending.kind = PENDING_SESSION;
	pending_put(&gateway->pending, &session->pending, PENDING_WAITING);
	session->tally_place = tally_add(gateway->tally, address);
	deadlines_set(gateway->deadlines, &session->deadline,
		      clock_monotonic_ms() + gateway->config->handshake_timeout_ms);
	return session;
}

void session_leave(struct session *session)
{
	session_log(session, "disconnected");
	audience_leave(session);
	deadlines_clear(session->gateway->deadlines, &session->deadline);
	pending_remove(&session->gateway->pending, &session->pending);
	replay_stop(session->replay);
	session->replay = NULL;
	free(session->partial);
	session->partial = NULL;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	session_count_end(session, ENDING_GONE);
	session_leave(session);
	if (session->next)
		session->next->previous = session->previous;
	if (session->previous)
		session->previous->next = session->next;
	else
		session->gateway->sessions = session->next;
	session->gateway->session_count--;
	tally_remove(session->gateway->tally, session->tally_place);
	session_clear_outbox(session);
	free(session->topic);
	free(session);
}

void session_drop(struct session *session, enum ending ending)
{
	session_count_end(session, ending);
	session_leave(session);
	session->state = SESSION_ENDING;
	session->close_sent = true; /* nothing more is written */
	peer_drop(session->peer);
}

void session_give_way(struct pending *pending)
{
	struct session *session = container_of(pending, struct session, pending);

	if (session->state == SESSION_WAITING) {
		refusals_log(session->gateway->refusals, COUNT_REFUSED_PENDING_FULL);
		if (peer_is_idle(session->peer))
			peer_close(session->peer, endings[ENDING_PENDING_FULL].code,
				   ending_reason(ENDING_PENDING_FULL));
	}
	session_drop(session, ENDING_PENDING_FULL);
}

void session_on_message(struct session *session, const char *bytes, size_t len, bool is_text,
			bool is_final)
{
	session->heard_ms = clock_monotonic_ms();
	if (session->state == SESSION_ENDING)
		return;
	if (is_final && !message_rate_take(&session->paid_us, session->heard_ms,
					   session->gateway->config->message_rate)) {
		session_end(session, ENDING_TOO_MANY_MESSAGES);
		return;
	}
	if (session->partial_len + len > MESSAGE_MAX_BYTES) {
		session_end(session, ENDING_TOO_BIG);
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
	const char *text = whole ? whole : bytes;
	size_t text_len = whole ? session->partial_len : len;
	session->partial = NULL;
	session->partial_len = 0;
	if (is_text && !utf8_valid(text, text_len))
		session_end(session, ENDING_NOT_UTF8);
	else if (is_text)
		authentication_on_message(session, text, text_len);
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
		session_end(session, ENDING_AUTH_TIMEOUT);
		return;
	}
	if (session->state == SESSION_ENDING || now_ms - session->heard_ms >= SILENCE_LIMIT_MS) {
		session_drop(session, ENDING_SILENT);
		return;
	}
	if (authentication_is_over(session)) {
		session_end(session, ENDING_AUTH_EXPIRED);
		return;
	}
	if (now_ms >= session->ping_at_ms) {
		if (!peer_ping(session->peer)) {
			session_drop(session, ENDING_GONE);
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

void session_schedule_all(struct gateway *gateway)
{
	for (struct session *session = gateway->sessions; session; session = session->next)
		if (session->state == SESSION_OPEN)
			session_schedule(session);
}

void session_end_all(struct gateway *gateway)
{
	for (struct session *session = gateway->sessions; session; session = session->next) {
		session_clear_outbox(session); /* nothing else is sent */
		session_end(session, ENDING_SHUTDOWN);
	}
}

void session_end_some(struct gateway *gateway, size_t left)
{
	size_t open = 0;

	for (struct session *session = gateway->sessions; session; session = session->next)
		open += session->state != SESSION_ENDING;
	for (struct session *session = gateway->sessions; session && open > left;
	     session = session->next) {
		if (session->state == SESSION_ENDING)
			continue;
		session_end(session, ENDING_SHUTDOWN);
		open--;
	}
}

void session_drop_all(struct gateway *gateway)
{
	for (struct session *session = gateway->sessions; session; session = session->next)
		session_drop(session, ENDING_SHUTDOWN);
}
