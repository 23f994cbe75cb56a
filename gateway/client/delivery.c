/*
 * Sending and queueing, see delivery.h. State: the session's outbox, and the rest of a frame that
 * was cut. Never blocks.
 *
 * Between the two halves of a frame nothing else may be written, and libwebsockets answers pings by
 * itself. So it gets the rest of a short frame, and sends that first. A long frame, whose copies
 * would be many megabytes, is begun only when libwebsockets has nothing to say, as in its writable
 * callback, and nothing is read from the client until the frame is finished. To a stream it never
 * says anything: the rest of any frame stays in the outbox.
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

static void forget_outbox(struct session *session)
{
	outbox_free(session->outbox);
	session->outbox = NULL;
}

/* Puts it at the end of what waits. For a frame that does not fit, a plain connection loses its
 * oldest pushes; one that can resume, or has none to lose, gets no room. A long frame for one that
 * has kept up is tried first: the kernel may take all of it, see delivery_flush. Last words need
 * room in the pool only. */
static enum delivery queue(struct session *session, struct frame *frame)
{
	const struct config *config = session->clients->config;
	bool is_last = session->state == SESSION_ENDING;
	size_t bytes = is_last ? SIZE_MAX : (size_t)config->outbox_max_bytes;
	const struct outbox_limits limits = {
		.frames = is_last ? SIZE_MAX : (size_t)config->outbox_max_frames,
		.bytes = session->held < bytes ? bytes - session->held : 0,
	};
	struct outbox_pool *pool = &session->clients->pool;
	bool has_kept_up = delivery_is_done(session);
	bool has_try = has_kept_up && !frame_is_short(frame);

	if (!session->outbox)
		session->outbox = outbox_new(pool);
	while (!has_try && !outbox_has_room(session->outbox, frame, limits)) {
		bool pool_is_full = !outbox_pool_has_room(pool, frame);

		if (session->is_resumable || !outbox_drop_oldest_push(session->outbox)) {
			count(session, COUNT_DROP_CLOSED, frame->is_push);
			if (outbox_count(session->outbox) == 0)
				forget_outbox(session);
			return DELIVERY_FULL;
		}
		count(session, pool_is_full ? COUNT_DROP_POOL_FULL : COUNT_DROP_OUTBOX_FULL, 1);
	}
	outbox_push(session->outbox, frame);
	if (has_kept_up) /* its turn comes in a moment, or the kernel's buffer is full just now */
		outbox_begin(session->outbox, 0);
	peer_want_write(session->peer);
	return DELIVERY_QUEUED;
}

/* Takes what was written out of the outbox. A short frame that was cut is handed to libwebsockets;
 * all of it counts. False: there is no room for it, or the connection is broken. */
static bool note_written(struct session *session, size_t written)
{
	bool may_hold = session->transport == TRANSPORT_WEBSOCKET;
	struct outbox_pool *pool = &session->clients->pool;
	struct outbox *outbox = session->outbox;
	bool was_begun = outbox_written(outbox) > 0, is_good = true;
	struct frame *frame;
	size_t len;

	while (is_good && !session->held && (frame = outbox_peek(outbox, 0))) {
		const char *wire = frame_wire(frame, &len);

		written += outbox_written(outbox);
		if (written < len && (written == 0 || !may_hold || !frame_is_short(frame))) {
			outbox_begin(outbox, written);
			break;
		}
		outbox_pop(outbox); /* first: the pool has its room back */
		if (written < len) {
			is_good = pool->bytes + frame->len <= pool->max_bytes;
			session->held = is_good ? (uint16_t)frame->len : 0;
			pool->bytes += session->held;
			peer_want_write(session->peer);
			is_good =
				is_good && peer_hold(session->peer, wire + written, len - written);
		}
		written -= written < len ? written : len;
		count(session, is_good ? COUNT_DELIVERIES : COUNT_DROP_CLOSED, frame->is_push);
		frame_release(frame);
	}
	if (was_begun != (outbox_written(outbox) > 0))
		peer_pause_reading(session->peer, !was_begun);
	return is_good;
}

/* For a frame of which the kernel has taken `sent` bytes, not all. */
static enum delivery queue_rest(struct session *session, struct frame *frame, size_t sent)
{
	enum delivery delivery = queue(session, frame);

	if (sent > 0 && (delivery == DELIVERY_FULL || !note_written(session, sent)))
		return DELIVERY_BROKEN;
	return delivery;
}

static enum delivery send_frame(struct session *session, struct frame *frame)
{
	const char *wire;
	ssize_t sent;
	size_t len;

	if (!delivery_is_done(session) || !frame_is_short(frame))
		return queue(session, frame);
	wire = frame_wire(frame, &len);
	sent = peer_write(session->fd, wire, len);
	if (sent >= 0 && (size_t)sent < len)
		return queue_rest(session, frame, (size_t)sent);
	count(session, sent < 0 ? COUNT_DROP_CLOSED : COUNT_DELIVERIES, frame->is_push);
	return sent < 0 ? DELIVERY_BROKEN : DELIVERY_SENT;
}

enum delivery delivery_send(struct session *session, struct frame *frame)
{
	bool as_event = session->transport == TRANSPORT_STREAM && !frame->is_bare;
	struct frame *wanted = as_event ? frame_of_event(frame) : frame_hold(frame);
	enum delivery delivery = send_frame(session, wanted);

	frame_release(wanted);
	return delivery;
}

enum delivery delivery_send_joined(struct session *session, const struct joined *joined,
				   size_t first, size_t end)
{
	enum delivery delivery = DELIVERY_SENT;

	if (joined->is_short && delivery_is_done(session)) {
		size_t from = first > 0 ? joined->ends[first - 1] : 0, start = first;
		size_t len = joined->ends[end - 1] - from;
		ssize_t sent = peer_write(session->fd, joined->bytes + from, len);
		size_t at = from + (sent > 0 ? (size_t)sent : 0);

		for (; first < end && joined->ends[first] <= at; first++)
			from = joined->ends[first];
		count(session, COUNT_DELIVERIES, first - start);
		if (sent < 0)
			delivery = DELIVERY_BROKEN;
		else if (first < end)
			delivery = queue_rest(session, joined->frames[first++], at - from);
	}
	for (; first < end && delivery <= DELIVERY_QUEUED; first++)
		delivery = send_frame(session, joined->frames[first]);
	count(session, COUNT_DROP_CLOSED, end - first);
	return delivery;
}

enum delivery delivery_flush(struct session *session)
{
	struct outbox_pool *pool = &session->clients->pool;
	struct iovec pieces[FLUSH_PIECES];
	size_t count_pieces = 0, bytes = 0, skip = outbox_written(session->outbox), len;
	bool was_cut = skip > 0, has_progress = session->held > 0;
	struct frame *frame;
	ssize_t written = 0;

	if (!peer_is_idle(session->peer))
		return DELIVERY_QUEUED;
	pool->bytes -= session->held;
	session->held = 0;
	while (count_pieces < FLUSH_PIECES && bytes < FLUSH_BYTES &&
	       (frame = outbox_peek(session->outbox, count_pieces))) {
		const char *wire = frame_wire(frame, &len);

		pieces[count_pieces++] = (struct iovec){(char *)(uintptr_t)wire + skip, len - skip};
		bytes += len - skip;
		skip = 0;
	}
	if (count_pieces > 0)
		written = peer_write_pieces(session->fd, pieces, count_pieces);
	if (written < 0 || (written > 0 && !note_written(session, (size_t)written)))
		return DELIVERY_BROKEN;
	if (has_progress || (was_cut && written > 0)) /* the client has read */
		session->heard_ms = clock_monotonic_ms();
	if (!session->held && outbox_count(session->outbox) == 0) {
		forget_outbox(session); /* it has caught up */
		return DELIVERY_SENT;
	}
	if (was_cut || pool->bytes <= pool->max_bytes)
		return DELIVERY_QUEUED;
	return written > 0 ? DELIVERY_BROKEN : DELIVERY_FULL; /* it has had its try */
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
	session->clients->pool.bytes -= session->held;
	forget_outbox(session);
	session->held = 0;
}
