/*
 * Sending and queueing, see delivery.h. State: the session's outbox, and the rest of a frame that
 * was cut. Never blocks.
 *
 * Between the two halves of a frame nothing else may be written, and libwebsockets answers pings by
 * itself. So it gets the rest of a short frame, and sends that first. A long frame, whose copies
 * would be many megabytes, is begun only when libwebsockets has nothing to say, as in its writable
 * callback, and nothing is read from the client until the frame is finished.
 */
#include "gateway/client/delivery.h"

#include <sys/uio.h>

#include "gateway/client/client_internal.h"
#include "gateway/client/peer.h"
#include "shared/base/clock.h"

enum {
	FLUSH_PIECES = 64, /* frames to a write */
	FLUSH_BYTES = 262144 /* and bytes in one callback */
};

bool delivery_is_done(const struct session *session)
{
	return !session->held && !session->outbox && peer_is_idle(session->peer);
}

static void count(struct session *session, enum counter counter, size_t pushes)
{
	session->clients->counters->counts[counter] += (int64_t)pushes;
}

static struct outbox_limits limits_of(const struct session *session)
{
	const struct config *config = session->clients->config;
	size_t bytes = (size_t)config->outbox_max_bytes;

	return (struct outbox_limits){
		.frames = (size_t)config->outbox_max_frames,
		.bytes = session->held < bytes ? bytes - session->held : 0,
	};
}

/* Makes room for a frame that does not fit: a plain connection loses its oldest pushes. One that
 * can resume, or has none to lose, gets no room. */
static bool make_room(struct session *session, const struct frame *frame)
{
	const struct outbox_pool *pool = &session->clients->pool;

	while (!outbox_has_room(session->outbox, frame, limits_of(session))) {
		bool pool_is_full = !outbox_pool_has_room(pool, frame);

		if (session->is_resumable || !outbox_drop_oldest_push(session->outbox))
			return false;
		count(session, pool_is_full ? COUNT_DROP_POOL_FULL : COUNT_DROP_OUTBOX_FULL, 1);
	}
	return true;
}

static void need_outbox(struct session *session)
{
	if (!session->outbox)
		session->outbox = outbox_new(&session->clients->pool);
}

static enum delivery queue(struct session *session, struct frame *frame)
{
	need_outbox(session);
	outbox_push(session->outbox, frame);
	peer_want_write(session->peer);
	return DELIVERY_QUEUED;
}

/* For a connection that is behind. */
static enum delivery queue_with_room(struct session *session, struct frame *frame)
{
	need_outbox(session);
	if (make_room(session, frame))
		return queue(session, frame);
	count(session, COUNT_DROP_CLOSED, frame->is_push);
	return DELIVERY_FULL;
}

/* For one that has kept up: its turn comes in a moment, or the kernel's buffer is full just now. */
static enum delivery queue_first(struct session *session, struct frame *frame)
{
	enum delivery delivery = queue(session, frame);

	outbox_begin(session->outbox, 0);
	return delivery;
}

/* Hands over the last `len` bytes of a short frame, which the kernel did not take; all of it
 * counts. False: there is no room for it, or the connection is broken. */
static bool hold(struct session *session, const struct frame *frame, size_t len)
{
	const char *bytes = frame->bytes + frame->len - len;

	if (!outbox_pool_take(&session->clients->pool, frame->len))
		return false;
	session->held = (uint16_t)frame->len;
	peer_want_write(session->peer);
	return peer_hold(session->peer, bytes, len);
}

static enum delivery send_now(struct session *session, struct frame *frame)
{
	size_t len;
	const char *wire = frame_wire(frame, &len);
	ssize_t sent = peer_write(session->fd, wire, len);
	bool is_good = sent >= 0;

	if (sent == 0)
		return queue_first(session, frame);
	if (is_good && (size_t)sent < len)
		is_good = hold(session, frame, len - (size_t)sent);
	count(session, is_good ? COUNT_DELIVERIES : COUNT_DROP_CLOSED, frame->is_push);
	return is_good ? DELIVERY_SENT : DELIVERY_BROKEN;
}

enum delivery delivery_send(struct session *session, struct frame *frame)
{
	if (!delivery_is_done(session))
		return queue_with_room(session, frame);
	return frame_is_short(frame) ? send_now(session, frame) : queue_first(session, frame);
}

enum delivery delivery_send_last(struct session *session, struct frame *frame)
{
	return delivery_is_done(session) ? send_now(session, frame) : queue(session, frame);
}

/* Sends each by itself, from number `first` on. */
static enum delivery send_each(struct session *session, const struct joined *joined, size_t first,
			       size_t end)
{
	enum delivery delivery = DELIVERY_SENT;

	for (size_t i = first; i < end && delivery <= DELIVERY_QUEUED; i++) {
		delivery = delivery_send(session, joined->frames[i]);
		if (delivery > DELIVERY_QUEUED)
			count(session, COUNT_DROP_CLOSED, end - i - 1);
	}
	return delivery;
}

enum delivery delivery_send_joined(struct session *session, const struct joined *joined,
				   size_t first, size_t end)
{
	size_t from = first > 0 ? joined->ends[first - 1] : 0;
	size_t len = joined->ends[end - 1] - from, at;
	ssize_t sent;

	if (!joined->is_short || !delivery_is_done(session))
		return send_each(session, joined, first, end);
	sent = peer_write(session->fd, joined->bytes + from, len);
	if (sent == (ssize_t)len) {
		count(session, COUNT_DELIVERIES, end - first);
		return DELIVERY_SENT;
	}
	at = from + (sent > 0 ? (size_t)sent : 0);
	while (sent > 0 && joined->ends[first] <= at) {
		from = joined->ends[first++];
		count(session, COUNT_DELIVERIES, 1);
	}
	if (sent < 0 ||
	    (at > from && !hold(session, joined->frames[first], joined->ends[first] - at))) {
		count(session, COUNT_DROP_CLOSED, end - first);
		return DELIVERY_BROKEN;
	}
	if (at > from) {
		count(session, COUNT_DELIVERIES, 1);
		first++;
	}
	return send_each(session, joined, first, end);
}

static void forget_outbox(struct session *session)
{
	outbox_free(session->outbox);
	session->outbox = NULL;
}

/* The frames that wait, as pieces of one write; the first may have begun. Returns how many. */
static size_t gather(const struct outbox *outbox, struct iovec pieces[FLUSH_PIECES], size_t *bytes)
{
	size_t pieces_count = 0, skip = outbox_written(outbox), len;
	struct frame *frame;

	*bytes = 0;
	while (pieces_count < FLUSH_PIECES && *bytes < FLUSH_BYTES &&
	       (frame = outbox_peek(outbox, pieces_count))) {
		const char *wire = frame_wire(frame, &len);

		pieces[pieces_count++] = (struct iovec){(char *)(uintptr_t)wire + skip, len - skip};
		*bytes += len - skip;
		skip = 0;
	}
	return pieces_count;
}

/* Takes what was written out of the outbox. False: the connection is broken, or there is no room
 * for what waits. */
static bool note_written(struct session *session, size_t written)
{
	const struct outbox_pool *pool = &session->clients->pool;
	struct outbox *outbox = session->outbox;
	bool was_begun = outbox_written(outbox) > 0;
	struct frame *frame;

	while ((frame = outbox_peek(outbox, 0))) {
		size_t begun = outbox_written(outbox), len;
		bool is_good = true;

		frame_wire(frame, &len);
		if (begun + written < len && (begun + written == 0 || !frame_is_short(frame))) {
			outbox_begin(outbox, begun + written);
			break;
		}
		if (begun + written < len) { /* a short one was cut */
			is_good = hold(session, frame, len - written);
			written = 0;
		} else {
			written -= len - begun;
		}
		count(session, is_good ? COUNT_DELIVERIES : COUNT_DROP_CLOSED, frame->is_push);
		frame_release(outbox_pop(outbox));
		if (!is_good)
			return false;
		if (session->held)
			break;
	}
	if (was_begun != (outbox_written(outbox) > 0))
		peer_pause_reading(session->peer, !was_begun);
	if (was_begun) /* nothing is read from it: what it acknowledges shows that it is alive */
		session->heard_ms = clock_monotonic_ms();
	return !outbox_written(outbox) || pool->bytes <= pool->max_bytes;
}

enum delivery delivery_flush(struct session *session)
{
	struct iovec pieces[FLUSH_PIECES];
	size_t bytes, pieces_count;

	if (!peer_is_idle(session->peer))
		return DELIVERY_QUEUED;
	outbox_pool_give_back(&session->clients->pool, session->held);
	session->held = 0;
	pieces_count = gather(session->outbox, pieces, &bytes);
	if (pieces_count > 0) {
		ssize_t written = peer_write_pieces(session->fd, pieces, pieces_count);

		if (written < 0 || (written > 0 && !note_written(session, (size_t)written)))
			return DELIVERY_BROKEN;
	}
	if (session->held || outbox_count(session->outbox) > 0)
		return DELIVERY_QUEUED;
	forget_outbox(session); /* it has caught up */
	return DELIVERY_SENT;
}

void delivery_clear(struct session *session)
{
	size_t pushes = outbox_count_pushes(session->outbox);

	outbox_clear(session->outbox);
	count(session, COUNT_DROP_CLOSED, pushes - outbox_count_pushes(session->outbox));
	if (outbox_count(session->outbox) == 0)
		forget_outbox(session);
}

void delivery_end(struct session *session)
{
	count(session, COUNT_DROP_CLOSED, outbox_count_pushes(session->outbox));
	outbox_pool_give_back(&session->clients->pool, session->held);
	forget_outbox(session);
	session->held = 0;
}

void delivery_prefetch(const struct session *session)
{
	enum { CACHE_LINE = 64 };

	__builtin_prefetch(session);
	__builtin_prefetch((const char *)session + CACHE_LINE);
}

void delivery_prefetch_peer(const struct session *session)
{
	peer_prefetch(session->peer);
}
