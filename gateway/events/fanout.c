/*
 * Events to subscribers, see fanout.h. State: what was read last and has not been handed out yet,
 * and how far the first of it has got among its subscribers. Never blocks. A database that cannot
 * be read is tried again a second later; nothing is skipped.
 */
#include "gateway/events/fanout.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum { STRIDE = 8 };

struct fanout {
	struct feed *feed;
	struct audience *audience;
	struct presence *presence;
	struct counters *counters;
	struct log_repeat trouble;
	TAILQ_HEAD(batches, batch)
	batches; /* the first is the current one; only the last is an order */
	int64_t begun_us; /* the current one; 0: not yet */
	struct topic *topic; /* whose subscribers get it, looked up again in each turn */
	size_t left; /* of them, from the end of the array to its start */
	bool has_more;
	bool has_joined;
	struct fanout_gap gap;
	struct fanout_limits limits;
	size_t bytes;
};

struct fanout *fanout_new(struct feed *feed, struct audience *audience, struct presence *presence,
			  struct counters *counters)
{
	struct fanout *fanout = xcalloc(1, sizeof(*fanout));

	fanout->feed = feed;
	fanout->audience = audience;
	fanout->presence = presence;
	fanout->counters = counters;
	fanout->trouble = (struct log_repeat){.level = LOG_ERROR, .message = "cannot read events"};
	TAILQ_INIT(&fanout->batches);
	return fanout;
}

static void drop_first_batch(struct fanout *fanout)
{
	struct batch *batch = TAILQ_FIRST(&fanout->batches);

	TAILQ_REMOVE(&fanout->batches, batch, entry);
	batch_free(batch);
}

void fanout_free(struct fanout *fanout)
{
	if (!fanout)
		return;
	while (!TAILQ_EMPTY(&fanout->batches))
		drop_first_batch(fanout);
	free(fanout);
}

/* A push is added to the batch of its topic, if the topic has subscribers; one whose payload cannot
 * be read comes again. Nothing is read after an order, or it would be joined to what comes before
 * it; nor after a gap. */
static bool take(void *context, struct feed_event *event)
{
	struct fanout *fanout = context;
	const struct batch *last = TAILQ_LAST(&fanout->batches, batches);
	bool is_order = event->kind == EVENT_UNREGISTER || event->kind == EVENT_DISCONNECT;
	struct topic *topic = NULL;
	struct batch *batch;

	if ((last && last->kind != EVENT_PUSH) || fanout->gap.id > 0)
		return false;
	if (event->kind == EVENT_GAP && event->position)
		fanout->gap = (struct fanout_gap){event->id, event->node, event->number};
	if (event->kind == EVENT_PUSH)
		topic = audience_of_topic(fanout->audience, event->topic, event->topic_len);
	if (!topic && !is_order)
		return true;
	batch = topic ? topic->batch : NULL;
	if (topic &&
	    ((batch && batch->count >= fanout->limits.pushes) || !feed_payload(event) ||
	     (fanout->bytes > 0 && fanout->bytes + event->payload_len > fanout->limits.bytes)))
		return false;
	fanout->has_joined |= batch != NULL;
	if (!batch) {
		batch = batch_new(event);
		batch->gathered_for = topic;
		TAILQ_INSERT_TAIL(&fanout->batches, batch, entry);
	}
	if (topic) {
		topic->batch = batch;
		batch_add(batch, event);
		fanout->bytes += event->payload_len;
	}
	return true;
}

/* The topic may have gone since the last turn, and another of that name may have come. */
static void find_subscribers(struct fanout *fanout)
{
	const struct batch *batch = TAILQ_FIRST(&fanout->batches);
	struct topic *topic =
		batch->topic_len > 0
			? audience_of_topic(fanout->audience, batch->topic, batch->topic_len)
			: audience_of_user(fanout->audience, batch->user_id);
	size_t count = topic ? topic->count : 0;

	fanout->topic = topic;
	fanout->left = count < fanout->left ? count : fanout->left;
}

bool fanout_look(struct fanout *fanout, struct fanout_limits limits)
{
	struct log_repeat *trouble = &fanout->trouble;
	struct batch *batch;

	if (!TAILQ_EMPTY(&fanout->batches)) {
		find_subscribers(fanout);
		fanout->has_more = true; /* whatever has been committed since it was read */
		return false;
	}
	fanout->limits = limits;
	fanout->bytes = 0;
	fanout->has_joined = false;
	enum database_status status =
		feed_poll(fanout->feed, limits.rows, take, fanout, &fanout->has_more);
	TAILQ_FOREACH(batch, &fanout->batches, entry)
	if (batch->gathered_for)
		batch->gathered_for->batch = NULL;
	if (status == DATABASE_OK) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "events can be read again");
		return true;
	}
	fanout->has_more = false;
	log_repeat_event(trouble, clock_monotonic_ms(),
			 log_text("why", database_status_text(status)),
			 log_text("sqlite", feed_error(fanout->feed)));
	return true;
}

bool fanout_next(struct fanout *fanout, struct fanout_step *step)
{
	struct histogram *latencies = fanout->counters->latencies;
	struct batch *batch;

	while ((batch = TAILQ_FIRST(&fanout->batches))) {
		if (!fanout->begun_us) {
			fanout->begun_us = clock_monotonic_us();
			fanout->left = SIZE_MAX;
			find_subscribers(fanout);
		}
		if (fanout->left > 0) {
			size_t count = fanout->left < STRIDE ? fanout->left : STRIDE;

			fanout->left -= count;
			*step = (struct fanout_step){
				.batch = batch,
				.subscribers = fanout->topic->subscribers + fanout->left,
				.count = count,
				.to_come = fanout->left,
			};
			return true;
		}
		/* How long each push took: from the first subscriber to the last, and in all since
		 * the publish. */
		int64_t now_us = clock_monotonic_us(), wall_us = clock_wall_us();
		for (size_t i = 0; i < batch->count; i++) {
			int64_t created_ms = batch->pushes[i].created_ms;
			/* In whole milliseconds, so up to one too many; a clock may have been set
			 * back. */
			bool is_past = created_ms >= 0 && created_ms <= wall_us / 1000;

			histogram_add(&latencies[LATENCY_FANOUT], now_us - fanout->begun_us);
			histogram_add(&latencies[LATENCY_DELIVERY],
				      is_past ? wall_us - created_ms * 1000 : 0);
		}
		fanout->begun_us = 0;
		drop_first_batch(fanout);
	}
	presence_set_position(fanout->presence, feed_position(fanout->feed));
	return false;
}

struct fanout_gap fanout_gap(struct fanout *fanout)
{
	struct fanout_gap gap = fanout->gap;

	fanout->gap = (struct fanout_gap){0};
	return gap;
}

bool fanout_has_more(const struct fanout *fanout)
{
	return fanout->has_more || !TAILQ_EMPTY(&fanout->batches);
}

bool fanout_has_joined(const struct fanout *fanout)
{
	return fanout->has_joined;
}
