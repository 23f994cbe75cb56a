/*
 * Messages of a client, see conversation.h. State: the session's. Never blocks.
 */
#include "gateway/client/conversation.h"

#include "gateway/client/authentication.h"
#include "gateway/client/client_internal.h"
#include "gateway/client/message.h"
#include "gateway/client/session.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/utf8.h"
#include "shared/contract/topic_name.h"

/* A message may come in any number of fragments, also empty ones; so many cost as much as it. */
enum { STATUS_EVERY_MS = 700, FRAGMENTS = 500 };

static const enum ending endings_of_verdicts[] = {
	[VERDICT_AUTH_REQUIRED] = ENDING_AUTH_REQUIRED,
	[VERDICT_UNAUTHORIZED] = ENDING_UNAUTHORIZED,
	[VERDICT_EXPIRED] = ENDING_AUTH_EXPIRED,
	[VERDICT_UNREGISTERED] = ENDING_UNREGISTERED,
	[VERDICT_UNAVAILABLE] = ENDING_UNAVAILABLE,
};

static void on_first_message(struct session *session, const struct message *message)
{
	struct grant grant;
	enum verdict verdict = authentication_first(session->clients->authenticator, session->topic,
						    session->topic_len, message, &grant);

	if (verdict == VERDICT_GOOD)
		session_open(session, message, &grant);
	else
		session_end(session, endings_of_verdicts[verdict]);
}

static void on_later_auth(struct session *session, const struct message *message)
{
	struct clients *clients = session->clients;
	struct token_claims claims = {session->member.user_id, session->expires_s};
	struct grant grant;
	const struct topic *topic = session->member.by_topic.topic;
	enum verdict verdict = authentication_again(clients->authenticator, topic->name,
						    topic->name_len, message, claims, &grant);

	if (verdict != VERDICT_GOOD) {
		session_end(session, endings_of_verdicts[verdict]);
		return;
	}
	if (grant.claims.expires_s != session->expires_s) {
		session->expires_s = grant.claims.expires_s;
		presence_renew(clients->presence, session->member.slot, session->expires_s);
		session_schedule(session);
	}
	session_send(session, clients->auth_ok);
}

/* The answer comes when the database thread has counted, see clients_answer_status. */
static void on_status(struct session *session)
{
	uint32_t now_ms = (uint32_t)clock_monotonic_ms();
	const struct topic *topic = session->member.by_topic.topic;

	if (!topic_name_is_reserved(topic->name, topic->name_len) || session->wants_status ||
	    (session->status_at_ms && now_ms - session->status_at_ms < STATUS_EVERY_MS))
		return;
	session->status_at_ms = now_ms;
	session->wants_status = true;
	presence_ask_gauges(session->clients->presence);
}

static void on_whole_message(struct session *session, const char *text, size_t len, bool is_text)
{
	struct message message = {.kind = MESSAGE_MALFORMED};

	if (is_text && !utf8_valid(text, len)) {
		session_end(session, ENDING_NOT_UTF8);
		return;
	}
	if (is_text)
		message_parse(text, len, &message);
	if (session->state == SESSION_WAITING)
		on_first_message(session, &message);
	else if (message.kind == MESSAGE_AUTH)
		on_later_auth(session, &message);
	else if (message.kind == MESSAGE_STATUS)
		on_status(session);
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

/* RFC 6455, section 7.4, and the IANA registry: the codes that a client may send. */
static bool is_close_code(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

/* The code that answers a Close frame: the same one, or one that says what is wrong with it. */
static uint16_t close_answer(const char *payload, size_t len)
{
	unsigned code;

	if (len == 0)
		return 0;
	if (len == 1)
		return CLOSE_PROTOCOL_ERROR;
	code = (unsigned)(unsigned char)payload[0] << 8 | (unsigned char)payload[1];
	if (!is_close_code(code))
		return CLOSE_PROTOCOL_ERROR;
	return utf8_valid(payload + 2, len - 2) ? (uint16_t)code : CLOSE_NOT_UTF8;
}

void conversation_on_close(struct session *session, const char *payload, size_t len)
{
	session_end_answered(session, close_answer(payload, len));
}

void conversation_on_pong(struct session *session)
{
	session->heard_ms = clock_monotonic_ms();
}
