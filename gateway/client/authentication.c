/*
 * What a client says: its first frame, which must prove who it is, and the few that may follow
 * (PROTOCOL.md, section 2). State: the session's. A database that cannot be read sends the client
 * away to try again; it never lets anyone in.
 */
#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/replay.h"
#include "gateway/client/session_internal.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/contract/topic_name.h"

void authentication_refuse(struct session *session)
{
	session_end(session, ENDING_AUTH_REQUIRED);
}

bool authentication_is_over(const struct session *session)
{
	return session->expires_s > 0 && clock_wall_ms() / 1000 > session->expires_s;
}

/* While a rotation is under way there are two secrets. */
static enum token_verdict verify(const struct gateway *gateway, const struct message *message,
				 const char *topic, size_t topic_len, struct token_claims *claims)
{
	enum token_verdict verdict = TOKEN_BAD;
	int64_t now_s = clock_wall_ms() / 1000;

	for (size_t i = 0; i < GATEWAY_KEYS && verdict == TOKEN_BAD; i++)
		verdict = token_verify(gateway->keys[i], message->token, message->token_len, topic,
				       topic_len, now_s, claims);
	return verdict;
}

/* True when the token is good for the topic; else the session has been told and ends. */
static bool check_token(struct session *session, const struct message *message, const char *topic,
			size_t topic_len, struct token_claims *claims)
{
	if (message->token_state != MESSAGE_TOKEN_GIVEN) {
		authentication_refuse(session);
		return false;
	}
	switch (verify(session->gateway, message, topic, topic_len, claims)) {
	case TOKEN_GOOD:
		return true;
	case TOKEN_EXPIRED:
		session_end(session, ENDING_AUTH_EXPIRED);
		return false;
	case TOKEN_BAD:
		break;
	}
	session_end(session, ENDING_UNAUTHORIZED);
	return false;
}

/* From here on it is subscribed, and gets what comes after `newest_id`. */
static void open_session(struct session *session, const struct token_claims *claims,
			 int64_t newest_id)
{
	struct gateway *gateway = session->gateway;
	int64_t now_ms = clock_monotonic_ms();

	session->state = SESSION_OPEN;
	pending_remove(&gateway->pending, &session->pending);
	session->user_id = claims->user_id;
	session->expires_s = claims->expires_s;
	session->after_id = session->ordered_after_id = newest_id;
	session->heard_ms = now_ms;
	session->ping_at_ms = now_ms + PING_EVERY_MS;
	audience_join(session);
	gateway->counters.counts[COUNT_CONNECTION_ACCEPTED]++;
	session_log(session, "connected");
	session_schedule(session);
}

/* Whether all that came after `id` is still there. */
static bool can_recover(const struct feed_range *range, int64_t id)
{
	int64_t first = range->from_the_start ? range->oldest_id : range->oldest_id - 1;

	return id >= first && id <= range->newest_id;
}

static void send_resumed(struct session *session, int64_t last_event_id, bool recovered)
{
	struct frame *frame = frame_new(MESSAGE_RESUMED_SIZE);

	frame->len = message_resumed_write(frame->bytes, last_event_id, recovered);
	session_send(session, frame);
	frame_release(frame);
}

/* Opens a session that gets ids, and what it missed when that is still there. */
static void resume_session(struct session *session, const struct message *message,
			   const struct token_claims *claims)
{
	struct gateway *gateway = session->gateway;
	struct feed_range range;
	bool from_now = message->resume == MESSAGE_RESUME_FROM_NOW;

	if (feed_find_range(gateway->feed, &range) != DATABASE_OK) {
		session_end(session, ENDING_UNAVAILABLE);
		return;
	}
	bool recovered = from_now || can_recover(&range, message->last_event_id);
	session->is_resumable = true;
	open_session(session, claims, range.newest_id);
	send_resumed(session, range.newest_id, recovered);
	if (from_now)
		gateway->counters.counts[COUNT_RESUME_FROM_NOW]++;
	else if (!recovered)
		gateway->counters.counts[COUNT_RESUME_LOST]++;
	else
		gateway->counters.counts[COUNT_RESUME_RECOVERED]++;
	if (!from_now && recovered && session->state == SESSION_OPEN) {
		session->after_id = message->last_event_id;
		session->replay = replay_start(gateway->replays, session, message->last_event_id);
	}
}

/* The topic is looked up again: it may have gone, or have changed its mind about tokens, since the
 * upgrade. */
static void first_auth(struct session *session, const struct message *message)
{
	struct token_claims claims = {0};
	struct feed_topic topic;

	if (feed_find_topic(session->gateway->feed, session->topic, session->topic_len, &topic) !=
	    DATABASE_OK) {
		session_end(session, ENDING_UNAVAILABLE);
		return;
	}
	if (!topic.registered) {
		session_end(session, ENDING_UNREGISTERED);
		return;
	}
	if (topic.require_token) {
		if (!check_token(session, message, session->topic, session->topic_len, &claims))
			return;
	} else if (message->token_state == MESSAGE_TOKEN_NOT_TEXT) {
		authentication_refuse(session);
		return;
	}
	if (message->resume != MESSAGE_RESUME_NOT_ASKED) {
		resume_session(session, message, &claims);
		return;
	}
	open_session(session, &claims, topic.newest_id);
	session_send(session, session->gateway->auth_ok);
}

/* A later token for the same topic and user moves the expiry. A session that needed none needs none
 * now. */
static void auth_again(struct session *session, const struct message *message)
{
	struct token_claims claims;
	size_t topic_len;
	const char *topic = topic_name(session->subscriber.topic, &topic_len);

	if (session->expires_s > 0) {
		if (!check_token(session, message, topic, topic_len, &claims))
			return;
		if (claims.user_id != session->user_id) {
			session_end(session, ENDING_UNAUTHORIZED);
			return;
		}
		session->expires_s = claims.expires_s;
		presence_renew(session->gateway->presence, session->slot, claims.expires_s);
		session_schedule(session);
	} else if (message->token_state == MESSAGE_TOKEN_NOT_TEXT) {
		authentication_refuse(session);
		return;
	}
	session_send(session, session->gateway->auth_ok);
}

void authentication_on_message(struct session *session, const char *text, size_t len)
{
	struct message message;

	message_parse(text, len, &message);
	if (session->state == SESSION_WAITING) {
		if (message.kind == MESSAGE_AUTH && message.resume != MESSAGE_RESUME_MALFORMED)
			first_auth(session, &message);
		else
			authentication_refuse(session);
	} else if (message.kind == MESSAGE_AUTH && message.resume == MESSAGE_RESUME_MALFORMED) {
		authentication_refuse(session);
	} else if (message.kind == MESSAGE_AUTH) {
		auth_again(session, &message);
	} else if (message.kind == MESSAGE_STATUS) {
		session_ask_status(session);
	}
}
