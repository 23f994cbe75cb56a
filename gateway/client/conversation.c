/*
 * What a client says, see conversation.h. State: the session's. Reads the database, and never
 * blocks. A database that cannot be read never lets anyone in.
 */
#include "gateway/client/conversation.h"

#include "gateway/client/client_internal.h"
#include "gateway/client/session.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/utf8.h"
#include "shared/contract/message.h"
#include "shared/contract/topic_name.h"
#include "shared/database/registry.h"

/* A message may come in any number of fragments, empty ones too; this many cost as much as one
 * message. */
enum { STATUS_EVERY_MS = 700, FRAGMENTS = 500 };

static const enum ending endings[] = {
	[AUTH_GOOD] = ENDING_NONE,
	[AUTH_REQUIRED] = ENDING_AUTH_REQUIRED,
	[AUTH_UNAUTHORIZED] = ENDING_UNAUTHORIZED,
	[AUTH_EXPIRED] = ENDING_AUTH_EXPIRED,
};

/* The topic is looked up again: since the upgrade it may have gone, or changed its mind about
 * tokens. */
static enum ending judge_first(const struct session *session, const struct message *message,
			       struct grant *grant)
{
	const struct clients *clients = session->clients;
	const struct opening *opening = session->opening;
	const struct position *position =
		message->resume == MESSAGE_RESUME_NOT_ASKED ? NULL : &message->last_event_id;

	if (registry_find(clients->registry, opening->topic, opening->topic_len, position,
			  &grant->found) != DATABASE_OK)
		return ENDING_UNAVAILABLE;
	grant->claims = (struct token_claims){0};
	if (!grant->found.registered)
		return ENDING_UNREGISTERED;
	return endings[auth_judge(&clients->keys, message, opening->topic, opening->topic_len,
				  grant->found.require_token, &grant->claims)];
}

/* A later token for the same topic and user moves the expiry. A client that needed none needs none
 * now. */
static void on_later_auth(struct session *session, const struct message *message)
{
	struct clients *clients = session->clients;
	struct token_claims claims = {session->member.user_id, session->expires_s};
	const struct topic *topic = session->member.by_topic.topic;
	enum ending ending = endings[auth_judge(&clients->keys, message, topic->name,
						topic->name_len, claims.expires_s > 0, &claims)];

	if (ending == ENDING_NONE && claims.user_id != session->member.user_id)
		ending = ENDING_UNAUTHORIZED;
	if (ending != ENDING_NONE) {
		session_end(session, ending);
		return;
	}
	if (claims.expires_s != session->expires_s) {
		session->expires_s = claims.expires_s;
		presence_renew(clients->presence, session->member.slot, session->expires_s);
		session_schedule(session);
	}
	session_send(session, clients->auth_ok);
}

static void on_whole_message(struct session *session, const char *text, size_t len, bool is_text)
{
	const struct topic *topic = session->member.by_topic.topic;
	uint32_t now_ms = (uint32_t)session->heard_ms;
	struct message message = {.kind = MESSAGE_MALFORMED};
	struct grant grant;
	enum ending ending;

	if (is_text && !utf8_valid(text, len)) {
		session_end(session, ENDING_NOT_UTF8);
		return;
	}
	if (is_text)
		message_parse(text, len, &message);
	if (session->state == SESSION_WAITING) {
		ending = judge_first(session, &message, &grant);
		if (ending == ENDING_NONE)
			session_open(session, &message, &grant);
		else
			session_end(session, ending);
	} else if (message.kind == MESSAGE_AUTH) {
		on_later_auth(session, &message);
	} else if (message.kind == MESSAGE_STATUS && !session->wants_status &&
		   topic_name_is_reserved(topic->name, topic->name_len) &&
		   (!session->status_at_ms || now_ms - session->status_at_ms >= STATUS_EVERY_MS)) {
		session->status_at_ms = now_ms;
		session->wants_status = true; /* until clients_answer_status */
		presence_ask(session->clients->presence, PRESENCE_QUESTION);
	}
}

void conversation_on_message(struct session *session, const char *bytes, size_t len, bool is_text,
			     bool is_final)
{
	int64_t rate = session->clients->config->message_rate;

	session->heard_ms = clock_monotonic_ms();
	if (session->state == SESSION_ENDING)
		return;
	if (!message_rate_take(&session->paid_us, session->heard_ms,
			       is_final ? rate : rate * FRAGMENTS)) {
		session_end(session, ENDING_TOO_MANY_MESSAGES);
		return;
	}
	if (session->transport == TRANSPORT_STREAM && session->state == SESSION_OPEN)
		return; /* it has said all it can say */
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
	size_t whole_len = session->partial_len;
	session->partial = NULL;
	session->partial_len = 0;
	on_whole_message(session, whole ? whole : bytes, whole ? whole_len : len, is_text);
	free(whole);
}

void conversation_on_body(struct session *session, char *bytes, size_t len)
{
	enum body_state state = BODY_WHOLE;

	if (session->state == SESSION_WAITING)
		state = body_take(&session->opening->body, bytes, &len);
	if (state == BODY_MALFORMED) /* then it has no auth frame */
		session_end(session, ENDING_AUTH_REQUIRED);
	else if (len > 0 || state == BODY_WHOLE)
		conversation_on_message(session, bytes, len, true, state == BODY_WHOLE);
}

/* The answer has the same code, or one that says what is wrong with it. */
void conversation_on_close(struct session *session, const char *payload, size_t len)
{
	unsigned code = 0;

	if (len >= 2)
		code = (unsigned)(unsigned char)payload[0] << 8 | (unsigned char)payload[1];
	/* RFC 6455, section 7.4, and the IANA registry: the codes that a client may send. */
	if (len > 0 && (code < 1000 || (code > 1003 && code < 1007) ||
			(code > 1014 && code < 3000) || code > 4999))
		code = CLOSE_PROTOCOL_ERROR;
	else if (len > 2 && !utf8_valid(payload + 2, len - 2))
		code = CLOSE_NOT_UTF8;
	session_end_answered(session, (uint16_t)code);
}

void conversation_on_pong(struct session *session)
{
	session->heard_ms = clock_monotonic_ms();
}
