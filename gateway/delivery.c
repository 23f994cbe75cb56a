/*
 * Frames to one connection: straight to the kernel while it keeps up, through its outbox when it is
 * behind, and the Close frame when all is said. State: the session's. Never blocks; a connection
 * that cannot be written to is dropped, its neighbours go on.
 */
#include "gateway/gateway.h"
#include "gateway/message.h"
#include "gateway/peer.h"
#include "gateway/replay.h"
#include "gateway/session_internal.h"
#include "shared/clock.h"

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
		if (session->is_resumable || !outbox_drop_oldest_push(session->outbox)) {
			gateway->counters.closed_slow++;
			session_clear_outbox(session);
			session_end(session, CLOSE_TRY_AGAIN, NULL);
			return false;
		}
		gateway->counters.dropped_pushes++;
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

void session_send(struct session *session, struct frame *frame)
{
	if (outbox_count(session->outbox) > 0 || !peer_is_idle(session->peer)) {
		queue(session, frame);
		return;
	}
	session->last_len = frame->len;
	if (!peer_send(session->peer, frame))
		session_drop(session);
}

void session_clear_outbox(struct session *session)
{
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
	if (!peer_close(session->peer, session->close_code))
		session_drop(session);
}

void session_end(struct session *session, enum close_code code, const char *last_words)
{
	if (session->state == SESSION_ENDING)
		return;
	session_leave(session);
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

/* Sends what waits, as far as the kernel takes it; false when some of it still waits. */
static bool flush(struct session *session)
{
	while (outbox_count(session->outbox) > 0 && peer_is_idle(session->peer)) {
		struct frame *frame = outbox_pop(session->outbox);
		bool sent = peer_send(session->peer, frame);

		session->last_len = frame->len;
		frame_release(frame);
		if (!sent) {
			session_drop(session);
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

void session_deliver(struct session *session, struct frame *frame, int64_t event_id)
{
	if (event_id <= session->after_id || session->replay)
		return; /* it was there before, or the replay comes to it */
	session->after_id = event_id;
	session->gateway->counters.deliveries++;
	session_send(session, frame);
}

void session_unregister(struct session *session, int64_t event_id)
{
	if (event_id > session->ordered_after_id)
		session_end(session, CLOSE_NORMAL, MESSAGE_TOPIC_UNREGISTERED);
}
