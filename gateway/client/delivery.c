/*
 * Frames to one connection: straight to the kernel while it keeps up, through its outbox when it is
 * behind, and the Close frame when all is said. State: the session's. Never blocks; a connection
 * that cannot be written to is dropped, its neighbours go on.
 */
#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/peer.h"
#include "gateway/client/replay.h"
#include "gateway/client/session_internal.h"
#include "shared/base/clock.h"
#include "shared/base/utf8.h"

/* What libwebsockets holds back of the last frame counts too. */
static struct outbox_limits limits_of(const struct session *session)
{
	const struct config *config = session->gateway->config;
	size_t bytes = (size_t)config->outbox_max_bytes;
	size_t held = peer_is_idle(session->peer) ? 0 : session->last_len;

	return (struct outbox_limits){
		.frames = (size_t)config->outbox_max_frames,
		.bytes = held < bytes ? bytes - held : 0,
	};
}

/* A push that does not fit: a plain connection loses its oldest ones instead, never the newest. One
 * that can resume, or has none to lose while the pool is full, is sent away to come back. */
static bool make_room(struct session *session, const struct frame *frame)
{
	struct gateway *gateway = session->gateway;

	while (!outbox_has_room(session->outbox, frame, limits_of(session))) {
		bool pool_is_full = !outbox_pool_has_room(&gateway->pool, frame);

		if (session->is_resumable || !outbox_drop_oldest_push(session->outbox)) {
			gateway->counters.counts[COUNT_DROP_CLOSED]++;
			session_clear_outbox(session);
			session_end(session, ENDING_SLOW);
			return false;
		}
		gateway->counters
			.counts[pool_is_full ? COUNT_DROP_POOL_FULL : COUNT_DROP_OUTBOX_FULL]++;
	}
	return true;
}

static void queue(struct session *session, struct frame *frame)
{
	if (!session->outbox)
		session->outbox = outbox_new(&session->gateway->pool);
	if (frame->is_push && !make_room(session, frame))
		return;
	outbox_push(session->outbox, frame);
	peer_want_write(session->peer);
}

static bool send_now(struct session *session, struct frame *frame)
{
	int64_t *counts = session->gateway->counters.counts;
	bool sent = peer_send(session->peer, session->fd, frame);

	session->last_len = (uint32_t)frame->len;
	if (frame->is_push)
		counts[sent ? COUNT_DELIVERIES : COUNT_DROP_CLOSED]++;
	return sent;
}

void session_send(struct session *session, struct frame *frame)
{
	if (outbox_count(session->outbox) > 0 || !peer_is_idle(session->peer))
		queue(session, frame);
	else if (!send_now(session, frame))
		session_drop(session, ENDING_GONE);
}

void session_clear_outbox(struct session *session)
{
	session->gateway->counters.counts[COUNT_DROP_CLOSED] +=
		(int64_t)outbox_count_pushes(session->outbox);
	outbox_free(session->outbox);
	session->outbox = NULL;
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
	if (!peer_close(session->peer, endings[session->ending].code,
			ending_reason(session->ending)))
		session_drop(session, ENDING_GONE);
}

void session_count_end(struct session *session, enum ending ending)
{
	int64_t *counts = session->gateway->counters.counts;

	if (session->state == SESSION_WAITING)
		counts[endings[ending].unauthenticated]++;
	else if (session->state == SESSION_OPEN)
		counts[endings[ending].authenticated]++;
}

void session_end(struct session *session, enum ending ending)
{
	const char *last_words = endings[ending].last_words;
	bool was_waiting = session->state == SESSION_WAITING;

	if (session->state == SESSION_ENDING)
		return;
	session_count_end(session, ending);
	session_leave(session);
	session->state = SESSION_ENDING;
	session->ending = (uint8_t)ending;
	if (was_waiting)
		pending_put(&session->gateway->pending, &session->pending, PENDING_LEAVING);
	deadlines_set(session->gateway->deadlines, &session->deadline,
		      clock_monotonic_ms() + CLOSE_LIMIT_MS);
	if (last_words) {
		struct frame *frame = frame_of_text(last_words);

		session_send(session, frame);
		frame_release(frame);
	}
	close_if_drained(session);
}

/* RFC 6455, section 7.4, and the IANA registry: what a client may say. */
static bool is_close_code(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

/* The code that answers a Close frame: the same one, or what is wrong with it. */
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

void session_on_close(struct session *session, const char *payload, size_t len)
{
	bool is_answer = session->close_sent;

	session_count_end(session, ENDING_GONE);
	session_leave(session);
	session->state = SESSION_ENDING;
	session->close_sent = true;
	if (!is_answer && peer_is_idle(session->peer))
		peer_close(session->peer, close_answer(payload, len), "");
}

/* Sends what waits, as far as the kernel takes it; false when some of it still waits. */
static bool flush(struct session *session)
{
	while (outbox_count(session->outbox) > 0 && peer_is_idle(session->peer)) {
		struct frame *frame = outbox_pop(session->outbox);
		bool sent = send_now(session, frame);

		frame_release(frame);
		if (!sent) {
			session_drop(session, ENDING_GONE);
			return false;
		}
	}
	return outbox_count(session->outbox) == 0 && peer_is_idle(session->peer);
}

void session_on_writable(struct session *session)
{
	if (!flush(session)) {
		if (!session->close_sent)
			peer_want_write(session->peer);
		return;
	}
	session_clear_outbox(session); /* it has caught up */
	close_if_drained(session);
	if (session->replay)
		replay_continue(session->replay);
}

bool session_is_resumable(const struct session *session)
{
	return session->is_resumable;
}

void session_prefetch(const struct session *session)
{
	enum { CACHE_LINE = 64 };

	__builtin_prefetch(session);
	__builtin_prefetch((const char *)session + CACHE_LINE);
}

void session_prefetch_peer(const struct session *session)
{
	peer_prefetch(session->peer);
}

void session_deliver(struct session *session, struct frame *frame, int64_t event_id)
{
	if (event_id <= session->after_id || session->replay)
		return; /* it was there before, or the replay comes to it */
	session->after_id = event_id;
	session_send(session, frame);
}

void session_unregister(struct session *session, int64_t event_id)
{
	if (event_id > session->ordered_after_id)
		session_end(session, ENDING_UNREGISTERED);
}

void session_disconnect(struct session *session, int64_t event_id, const int64_t *user_id)
{
	if (event_id > session->ordered_after_id && (!user_id || *user_id == session->user_id))
		session_end(session, ENDING_DISCONNECTED);
}

void session_disconnect_user(struct gateway *gateway, int64_t event_id, int64_t user_id)
{
	size_t count;
	struct subscriber *const *sockets = audience_of_user(&gateway->audience, user_id, &count);

	for (size_t i = count; i-- > 0;)
		session_disconnect(session_of_user(sockets[i]), event_id, &user_id);
}
