/*
 * Sending and queueing, see delivery.h. State: the session's outbox. Never blocks.
 */
#include "gateway/client/delivery.h"

#include "gateway/client/client_internal.h"
#include "gateway/client/peer.h"

bool delivery_is_done(const struct session *session)
{
	return outbox_count(session->outbox) == 0 && peer_is_idle(session->peer);
}

/* What libwebsockets holds back of the last frame counts too. */
static struct outbox_limits limits_of(const struct session *session)
{
	const struct config *config = session->clients->config;
	size_t bytes = (size_t)config->outbox_max_bytes;
	size_t held = peer_is_idle(session->peer) ? 0 : session->last_len;

	return (struct outbox_limits){
		.frames = (size_t)config->outbox_max_frames,
		.bytes = held < bytes ? bytes - held : 0,
	};
}

/* For a frame that does not fit: a plain connection loses its oldest pushes instead. One that can
 * resume, or has none to lose, gets no room. */
static bool make_room(struct session *session, const struct frame *frame)
{
	struct clients *clients = session->clients;

	while (!outbox_has_room(session->outbox, frame, limits_of(session))) {
		bool pool_is_full = !outbox_pool_has_room(&clients->pool, frame);

		if (session->is_resumable || !outbox_drop_oldest_push(session->outbox))
			return false;
		clients->counters
			->counts[pool_is_full ? COUNT_DROP_POOL_FULL : COUNT_DROP_OUTBOX_FULL]++;
	}
	return true;
}

static enum delivery queue(struct session *session, struct frame *frame, bool needs_room)
{
	if (!session->outbox)
		session->outbox = outbox_new(&session->clients->pool);
	if (needs_room && !make_room(session, frame)) {
		session->clients->counters->counts[COUNT_DROP_CLOSED] += frame->is_push;
		return DELIVERY_FULL;
	}
	outbox_push(session->outbox, frame);
	peer_want_write(session->peer);
	return DELIVERY_QUEUED;
}

static enum delivery send_now(struct session *session, struct frame *frame)
{
	int64_t *counts = session->clients->counters->counts;
	size_t len;
	const char *wire = frame_wire(frame, &len);
	ssize_t sent = peer_write(session->fd, wire, len);
	bool is_good = sent >= 0;

	if (is_good && (size_t)sent < len) {
		is_good = peer_hold(session->peer, wire + sent, len - (size_t)sent);
		session->last_len = (uint32_t)frame->len;
		peer_want_write(session->peer);
	}
	if (frame->is_push)
		counts[is_good ? COUNT_DELIVERIES : COUNT_DROP_CLOSED]++;
	return is_good ? DELIVERY_SENT : DELIVERY_BROKEN;
}

enum delivery delivery_send(struct session *session, struct frame *frame)
{
	return delivery_is_done(session) ? send_now(session, frame) : queue(session, frame, true);
}

enum delivery delivery_send_last(struct session *session, struct frame *frame)
{
	return delivery_is_done(session) ? send_now(session, frame) : queue(session, frame, false);
}

static enum delivery send_each(struct session *session, struct frame *const *frames, size_t count)
{
	enum delivery delivery = DELIVERY_SENT;

	for (size_t i = 0; i < count && delivery <= DELIVERY_QUEUED; i++)
		delivery = delivery_send(session, frames[i]);
	return delivery;
}

enum delivery delivery_send_joined(struct session *session, const struct joined *joined,
				   size_t first, size_t count)
{
	return send_each(session, joined->frames + first, count - first);
}

enum delivery delivery_flush(struct session *session)
{
	while (outbox_count(session->outbox) > 0 && peer_is_idle(session->peer)) {
		struct frame *frame = outbox_pop(session->outbox);
		enum delivery delivery = send_now(session, frame);

		frame_release(frame);
		if (delivery == DELIVERY_BROKEN)
			return DELIVERY_BROKEN;
	}
	if (!delivery_is_done(session))
		return DELIVERY_QUEUED;
	delivery_clear(session); /* it has caught up */
	return DELIVERY_SENT;
}

void delivery_clear(struct session *session)
{
	session->clients->counters->counts[COUNT_DROP_CLOSED] +=
		(int64_t)outbox_count_pushes(session->outbox);
	outbox_free(session->outbox);
	session->outbox = NULL;
}

void delivery_prefetch(const struct session *session)
{
	enum { CACHE_LINE = 64 };

	__builtin_prefetch(session);
	__builtin_prefetch((const char *)session + CACHE_LINE);
}
