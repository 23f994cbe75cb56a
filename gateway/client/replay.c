/*
 * Replays, see replay.h. State: a queue of those that can go on. While there is one, a timer says
 * when to work, and the work is done last in that turn of the loop: live pushes, which the turn
 * looks for before, need not wait for it. Never blocks.
 */
#include "gateway/client/replay.h"

#include <uv.h>

#include "gateway/client/client_internal.h"
#include "shared/base/alloc.h"
#include "shared/database/feed.h"

/* At most half a millisecond of work, then a pause of one millisecond: live pushes are not delayed
 * by more than that, and other programs on the same processor get their turn. When there has been
 * something to do for LONG_NS, more may be published than a third of a processor can replay, and
 * clients that fall behind would in the end lose what is pruned: then there are no more pauses. */
enum {
	HANDLES = 2,
	PAUSE_MS = 1,
	BUDGET_NS = 500000,
	LEAST_PUSHES = 16, /* of a turn, however little time it gets */
	BATCH_ROWS = 256 /* of all topics, looked at in one go */
};
static const uint64_t LONG_NS = UINT64_C(10000000000);

struct replay {
	struct replays *owner;
	struct session *session;
	int64_t position;
	enum delivery delivery; /* of the last push sent */
	int sent; /* pushes of this turn */
	bool has_enough; /* for now */
	bool is_waiting; /* the client is behind: it is not in the queue */
	bool is_parked; /* nor is one that has caught up, see replay_pass */
	struct client_position *client; /* of a cluster, or NULL */
	TAILQ_ENTRY(replay) entry;
};

struct replays {
	uv_timer_t timer;
	uv_prepare_t work; /* runs when the timer has said so */
	int open_handles;
	uint64_t since_ns; /* when the queue was last empty */
	uint64_t deadline_ns; /* of the current piece of work */
	struct feed *feed;
	replay_turn *turn;
	TAILQ_HEAD(, replay) queue; /* the first one is next */
};

static void forget_handle(uv_handle_t *handle)
{
	struct replays *replays = handle->data;

	if (--replays->open_handles == 0)
		free(replays);
}

struct replays *replays_new(struct uv_loop_s *loop, struct feed *feed, replay_turn *turn)
{
	struct replays *replays = xcalloc(1, sizeof(*replays));

	replays->feed = feed;
	replays->turn = turn;
	TAILQ_INIT(&replays->queue);
	uv_timer_init(loop, &replays->timer);
	uv_prepare_init(loop, &replays->work);
	replays->timer.data = replays->work.data = replays;
	replays->open_handles = HANDLES;
	return replays;
}

void replays_free(struct replays *replays)
{
	if (!replays)
		return;
	uv_close((uv_handle_t *)&replays->timer, forget_handle);
	uv_close((uv_handle_t *)&replays->work, forget_handle);
}

static void leave_queue(struct replay *replay)
{
	struct replays *replays = replay->owner;

	if (replay->is_waiting)
		return;
	replay->is_waiting = true;
	TAILQ_REMOVE(&replays->queue, replay, entry);
	if (TAILQ_EMPTY(&replays->queue))
		uv_timer_stop(&replays->timer);
}

void replay_stop(struct replay *replay)
{
	if (!replay)
		return;
	leave_queue(replay);
	free(replay->client);
	free(replay);
}

/* A push goes out with the id that it has for this client. */
static enum delivery deliver(struct session *session, struct frame *frame)
{
	enum delivery delivery = delivery_send(session, frame);

	frame_release(frame);
	return delivery;
}

/* The batch ends when the client does not keep up, so that nothing is queued; the first push goes
 * out in any case. */
static bool send_push(void *context, struct feed_event *event)
{
	struct replay *replay = context;
	struct session *session = replay->session;
	char id[POSITION_TEXT_SIZE];
	struct frame *frame;

	if (replay->has_enough || !feed_payload(event))
		return false;
	feed_event_id(event, id);
	frame = frame_of_push(id, event->payload, event->payload_len);
	frame->is_push = false; /* it must not be lost */
	session->after_id = event->id;
	session->clients->counters->counts[COUNT_REPLAYED_EVENTS]++;
	replay->delivery = deliver(session, frame);
	replay->has_enough =
		replay->delivery != DELIVERY_SENT || !delivery_is_done(session) ||
		(++replay->sent >= LEAST_PUSHES && uv_hrtime() >= replay->owner->deadline_ns);
	return true;
}

enum replay_outcome replay_check(const struct replay *replay)
{
	const struct position *here = feed_here(replay->owner->feed);

	return replay->is_parked && position_reaches(here, &replay->client->position)
		       ? REPLAY_DONE
		       : REPLAY_GOES_ON;
}

bool replay_has_caught_up(const struct replay *replay)
{
	return replay->is_parked;
}

bool replay_covers(const struct replay *replay, uint64_t node, int64_t number)
{
	return number > 0 && number <= position_newest(&replay->client->position, node);
}

/* The client has had all that the feed has read. */
static enum replay_outcome catch_up(struct replay *replay)
{
	struct feed *feed = replay->owner->feed;

	if (!replay->client)
		return REPLAY_DONE;
	if (!replay->is_parked)
		leave_queue(replay);
	replay->is_parked = true;
	if (replay->client->position.id < feed_position(feed))
		replay->client->position.id = feed_position(feed);
	position_add(&replay->client->position, feed_here(feed));
	return replay_check(replay);
}

enum replay_outcome replay_proceed(struct replay *replay, enum delivery *delivery)
{
	struct session *session = replay->session;
	struct feed *feed = replay->owner->feed;
	const struct topic *topic = session->member.by_topic.topic;
	struct feed_batch batch = {
		.topic = topic->name,
		.topic_len = topic->name_len,
		.position = replay->position,
		.until = feed_position(feed),
		.max_rows = BATCH_ROWS,
		.client = replay->client,
	};

	replay->delivery = *delivery = DELIVERY_SENT;
	replay->has_enough = false;
	replay->sent = 0;
	if (!delivery_is_done(session)) {
		leave_queue(replay); /* until replay_continue */
		return REPLAY_GOES_ON;
	}
	if (feed_replay(feed, &batch, send_push, replay) != DATABASE_OK)
		return REPLAY_UNAVAILABLE;
	*delivery = replay->delivery;
	if (batch.has_gap)
		return REPLAY_GAP;
	replay->position = batch.position;
	if (replay->position < batch.until)
		return REPLAY_GOES_ON;
	if (session->after_id < replay->position)
		session->after_id = replay->position;
	return catch_up(replay);
}

enum replay_outcome replay_pass(struct replay *replay, const struct batch *batch, size_t first,
				enum delivery *delivery)
{
	struct session *session = replay->session;

	*delivery = DELIVERY_SENT;
	if (!replay->is_parked)
		return REPLAY_GOES_ON;
	for (; first < batch->count && *delivery <= DELIVERY_QUEUED; first++) {
		const struct batch_push *push = &batch->pushes[first];
		struct position *position = &replay->client->position;
		char id[POSITION_TEXT_SIZE];

		if (client_position_covers(replay->client, push->id, push->node, push->number))
			continue;
		position->id = push->id;
		if (push->number > position_newest(position, push->node))
			position_set(position, push->node, push->number);
		position_write(position, id);
		*delivery = deliver(session, batch_push_frame(batch, first, id));
	}
	session->after_id = batch->pushes[batch->count - 1].id;
	return catch_up(replay);
}

static void on_timer(uv_timer_t *timer);

/* One batch of each in turn, as long as the time lasts. */
static void on_work(uv_prepare_t *work)
{
	struct replays *replays = work->data;
	uint64_t start_ns = uv_hrtime();
	struct replay *replay;

	uv_prepare_stop(work);
	replays->deadline_ns = start_ns + BUDGET_NS;
	while ((replay = TAILQ_FIRST(&replays->queue)) && uv_hrtime() < replays->deadline_ns) {
		TAILQ_REMOVE(&replays->queue, replay, entry);
		TAILQ_INSERT_TAIL(&replays->queue, replay, entry);
		replays->turn(replay->session);
	}
	if (replay)
		uv_timer_start(&replays->timer, on_timer,
			       start_ns - replays->since_ns < LONG_NS ? PAUSE_MS : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct replays *replays = timer->data;

	uv_prepare_start(&replays->work, on_work);
}

void replay_continue(struct replay *replay)
{
	struct replays *replays = replay ? replay->owner : NULL;

	if (!replay || !replay->is_waiting || replay->is_parked)
		return;
	replay->is_waiting = false;
	if (TAILQ_EMPTY(&replays->queue)) {
		replays->since_ns = uv_hrtime();
		uv_timer_start(&replays->timer, on_timer, 0, 0);
	}
	TAILQ_INSERT_TAIL(&replays->queue, replay, entry);
}

struct replay *replay_start(struct replays *replays, struct session *session, int64_t after_id,
			    struct client_position *client)
{
	struct replay *replay = xcalloc(1, sizeof(*replay));

	replay->owner = replays;
	replay->session = session;
	replay->position = after_id;
	replay->client = client;
	replay->is_waiting = true;
	replay_continue(replay);
	return replay;
}
