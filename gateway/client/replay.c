/*
 * Replays, see replay.h. State: a ring of those that can go on, walked by a timer, which runs only
 * while there is one. Never blocks; a database that cannot be read sends the client away to try
 * again.
 */
#include "gateway/client/replay.h"

#include <uv.h>

#include "gateway/gateway.h"
#include "gateway/client/message.h"
#include "gateway/client/peer.h"
#include "gateway/client/session_internal.h"
#include "shared/base/alloc.h"

/* At most half a millisecond of work, then a pause of one: live pushes are not delayed by more, and
 * other programs on the same processor get their turn. */
enum {
	PAUSE_MS = 1,
	BUDGET_NS = 500000,
	BATCH_ROWS = 256 /* of all topics, to look at at a time */
};

struct replay {
	struct replays *owner;
	struct session *session;
	int64_t position;
	struct replay *next, *previous; /* in the ring; NULL while the client is behind */
};

struct replays {
	uv_timer_t timer; /* runs while there is one that can go on */
	uint64_t deadline_ns; /* of the work in hand */
	struct gateway *gateway;
	struct replay *first; /* whose turn is next */
};

static void free_replays(uv_handle_t *handle)
{
	free(handle->data);
}

struct replays *replays_new(struct gateway *gateway)
{
	struct replays *replays = xcalloc(1, sizeof(*replays));

	replays->gateway = gateway;
	uv_timer_init(gateway->loop, &replays->timer);
	replays->timer.data = replays;
	return replays;
}

void replays_free(struct replays *replays)
{
	if (replays)
		uv_close((uv_handle_t *)&replays->timer, free_replays);
}

static void leave_ring(struct replay *replay)
{
	struct replays *replays = replay->owner;

	if (!replay->next)
		return;
	replay->next->previous = replay->previous;
	replay->previous->next = replay->next;
	if (replays->first == replay)
		replays->first = replay->next == replay ? NULL : replay->next;
	replay->next = replay->previous = NULL;
	if (!replays->first)
		uv_timer_stop(&replays->timer);
}

void replay_stop(struct replay *replay)
{
	if (!replay)
		return;
	leave_ring(replay);
	free(replay);
}

/* The batch ends when the client does not keep up: nothing is queued. */
static bool send_push(void *context, struct feed_event *event)
{
	struct replay *replay = context;
	struct session *session = replay->session;
	struct replays *replays = replay->owner;
	struct frame *frame = frame_new(message_push_max(event->payload_len));
	frame->len =
		message_push_write(frame->bytes, event->id, event->payload, event->payload_len);
	session->after_id = event->id;
	session->gateway->counters.counts[COUNT_REPLAYED_EVENTS]++;
	session_send(session, frame);
	frame_release(frame);
	/* The replay itself is gone when its session is no longer open. */
	return session->state == SESSION_OPEN && peer_is_idle(session->peer) &&
	       uv_hrtime() < replays->deadline_ns;
}

/* The next batch of one session, which may end the replay, or the session. */
static void proceed(struct replay *replay)
{
	struct session *session = replay->session;
	struct feed *feed = replay->owner->gateway->feed;
	struct feed_replay batch = {
		.position = replay->position,
		.until = feed_position(feed),
		.max_rows = BATCH_ROWS,
	};

	batch.topic = topic_name(session->subscriber.topic, &batch.topic_len);
	enum database_status status = feed_replay(feed, &batch, send_push, replay);
	if (session->state != SESSION_OPEN)
		return; /* and the replay is gone */
	if (status != DATABASE_OK || batch.has_gap) {
		session_end(session, batch.has_gap ? ENDING_SLOW : ENDING_UNAVAILABLE);
		return;
	}
	replay->position = batch.position;
	if (replay->position >= batch.until) {
		if (session->after_id < replay->position)
			session->after_id = replay->position;
		session->replay = NULL;
		replay_stop(replay);
	} else if (!peer_is_idle(session->peer)) {
		leave_ring(replay); /* until session_on_writable */
	}
}

/* One batch of each in turn, as long as the time lasts. */
static void on_timer(uv_timer_t *timer)
{
	struct replays *replays = timer->data;

	replays->deadline_ns = uv_hrtime() + BUDGET_NS;
	while (replays->first && uv_hrtime() < replays->deadline_ns) {
		struct replay *replay = replays->first;

		replays->first = replay->next;
		proceed(replay);
	}
}

void replay_continue(struct replay *replay)
{
	struct replays *replays = replay->owner;
	struct replay *first = replays->first;

	if (replay->next)
		return;
	if (first) {
		replay->next = first;
		replay->previous = first->previous;
		first->previous->next = replay;
		first->previous = replay;
	} else {
		replay->next = replay->previous = replays->first = replay;
		uv_timer_start(&replays->timer, on_timer, 0, PAUSE_MS);
	}
}

struct replay *replay_start(struct replays *replays, struct session *session, int64_t position)
{
	struct replay *replay = xcalloc(1, sizeof(*replay));

	replay->owner = replays;
	replay->session = session;
	replay->position = position;
	replay_continue(replay);
	return replay;
}
