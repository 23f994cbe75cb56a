/*
 * Events to subscribers, see fanout.h. State: what was read last and has not been handed out yet
 * (batches of pushes, or one order), and how far the current one has got among its subscribers.
 * Never blocks. A database that cannot be read is tried again a second later; nothing is skipped.
 */
#include "gateway/events/fanout.h"

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum { STRIDE = 8 };

/* unregister, or disconnect */
struct order {
	int64_t id; /* 0: there is none */
	enum event_kind kind;
	bool has_user;
	int64_t user_id;
	char *topic; /* NULL: of all topics */
	size_t topic_len;
};

struct fanout {
	struct feed *feed;
	struct audience *audience;
	struct presence *presence;
	struct counters *counters;
	struct log_repeat trouble;
	STAILQ_HEAD(, batch) batches; /* the first is the current one */
	struct order order;
	struct topic *topic; /* the one being walked, looked up again in each turn */
	size_t left; /* of its subscribers, from the end of the array to its start */
	bool is_begun; /* what is in hand */
	bool has_more;
	bool has_joined;
	int64_t begun_us;
	int64_t handed_out; /* all events up to this one */
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
	fanout->handed_out = feed_position(feed);
	fanout->trouble = (struct log_repeat){.level = LOG_ERROR, .message = "cannot read events"};
	STAILQ_INIT(&fanout->batches);
	return fanout;
}

static void drop_first_batch(struct fanout *fanout)
{
	struct batch *batch = STAILQ_FIRST(&fanout->batches);

	STAILQ_REMOVE_HEAD(&fanout->batches, entry);
	batch_free(batch);
}

void fanout_free(struct fanout *fanout)
{
	if (!fanout)
		return;
	while (!STAILQ_EMPTY(&fanout->batches))
		drop_first_batch(fanout);
	free(fanout->order.topic);
	free(fanout);
}

/* An order goes alone: whatever comes before it is handed out first. */
static bool take_order(struct fanout *fanout, const struct feed_event *event)
{
	if (!STAILQ_EMPTY(&fanout->batches))
		return false;
	fanout->order = (struct order){
		.id = event->id,
		.kind = event->kind,
		.has_user = event->has_user,
		.user_id = event->user_id,
		.topic = event->topic_len > 0 ? xstrndup(event->topic, event->topic_len) : NULL,
		.topic_len = event->topic_len,
	};
	return true;
}

/* Adds it to the batch of its topic; a payload that cannot be read comes again. */
static bool take_push(struct fanout *fanout, struct topic *topic, struct feed_event *event)
{
	struct batch *batch = topic->batch;

	if ((batch && batch->count >= fanout->limits.pushes) || !feed_payload(event) ||
	    (fanout->bytes > 0 && fanout->bytes + event->payload_len > fanout->limits.bytes))
		return false;
	if (batch) {
		fanout->has_joined = true;
	} else {
		topic->batch = batch = batch_new(event->topic, event->topic_len);
		STAILQ_INSERT_TAIL(&fanout->batches, batch, entry);
	}
	batch_add(batch, event->id, event->created_ms, event->payload, event->payload_len);
	fanout->bytes += event->payload_len;
	return true;
}

static bool take(void *context, struct feed_event *event)
{
	struct fanout *fanout = context;
	struct topic *topic;

	if (fanout->order.id)
		return false;
	switch (event->kind) {
	case EVENT_PUSH:
		topic = audience_of_topic(fanout->audience, event->topic, event->topic_len);
		return !topic || take_push(fanout, topic, event);
	case EVENT_UNREGISTER:
	case EVENT_DISCONNECT:
		return take_order(fanout, event);
	case EVENT_DATABASE_MADE:
		break;
	}
	return true;
}

static bool has_work(const struct fanout *fanout)
{
	return !STAILQ_EMPTY(&fanout->batches) || fanout->order.id;
}

static void read_feed(struct fanout *fanout, struct fanout_limits limits)
{
	struct log_repeat *trouble = &fanout->trouble;
	struct batch *batch;

	fanout->limits = limits;
	fanout->bytes = 0;
	fanout->has_joined = false;
	enum database_status status =
		feed_poll(fanout->feed, limits.rows, take, fanout, &fanout->has_more);
	STAILQ_FOREACH(batch, &fanout->batches, entry) /* nobody has left since */
	audience_of_topic(fanout->audience, batch->topic, batch->topic_len)->batch = NULL;
	if (status == DATABASE_OK) {
		log_repeat_ends(trouble, clock_monotonic_ms(), "events can be read again");
		return;
	}
	fanout->has_more = false;
	log_repeat_event(trouble, clock_monotonic_ms(),
			 log_text("why", database_status_text(status)),
			 log_text("sqlite", feed_error(fanout->feed)));
}

/* All of it is handed out. */
static void note_position(struct fanout *fanout)
{
	int64_t position = feed_position(fanout->feed);

	if (position != fanout->handed_out)
		presence_set_position(fanout->presence, position);
	fanout->handed_out = position;
}

/* The topic may have gone since the last turn, and another of that name may have come. */
static void go_on(struct fanout *fanout)
{
	const struct batch *batch = STAILQ_FIRST(&fanout->batches);
	const struct order *order = &fanout->order;
	const char *topic = batch ? batch->topic : order->topic;
	size_t topic_len = batch ? batch->topic_len : order->topic_len;

	fanout->topic = topic ? audience_of_topic(fanout->audience, topic, topic_len)
			      : audience_of_user(fanout->audience, order->user_id);
	size_t count = fanout->topic ? fanout->topic->count : 0;
	fanout->left = count < fanout->left ? count : fanout->left;
}

bool fanout_look(struct fanout *fanout, struct fanout_limits limits)
{
	if (has_work(fanout)) {
		if (fanout->is_begun)
			go_on(fanout);
		return false;
	}
	read_feed(fanout, limits);
	if (!has_work(fanout))
		note_position(fanout);
	return true;
}

static void begin(struct fanout *fanout)
{
	fanout->is_begun = true;
	fanout->begun_us = clock_monotonic_us();
	fanout->left = SIZE_MAX;
	go_on(fanout);
}

/* The time is kept in milliseconds, so this is up to one too many, and 0 when a clock has been set
 * back. */
static int64_t age_us(int64_t created_ms, int64_t now_us)
{
	return created_ms >= 0 && created_ms <= now_us / 1000 ? now_us - created_ms * 1000 : 0;
}

/* How long each push took: from the first subscriber to the last, and in all since the publish. */
static void account(struct fanout *fanout, const struct batch *batch)
{
	struct histogram *latencies = fanout->counters->latencies;
	int64_t now_us = clock_monotonic_us(), wall_us = clock_wall_us();

	for (size_t i = 0; i < batch->count; i++) {
		histogram_add(&latencies[LATENCY_FANOUT], now_us - fanout->begun_us);
		histogram_add(&latencies[LATENCY_DELIVERY], age_us(batch->created_ms[i], wall_us));
	}
}

static void finish(struct fanout *fanout)
{
	struct batch *batch = STAILQ_FIRST(&fanout->batches);

	fanout->is_begun = false;
	if (batch) {
		account(fanout, batch);
		drop_first_batch(fanout);
	} else {
		free(fanout->order.topic);
		fanout->order = (struct order){0};
	}
	if (!has_work(fanout))
		note_position(fanout);
}

bool fanout_next(struct fanout *fanout, struct fanout_step *step)
{
	while (has_work(fanout)) {
		struct batch *batch = STAILQ_FIRST(&fanout->batches);
		const struct order *order = &fanout->order;
		size_t count;

		if (!fanout->is_begun)
			begin(fanout);
		if (fanout->left == 0) {
			finish(fanout);
			continue;
		}
		count = fanout->left < STRIDE ? fanout->left : STRIDE;
		fanout->left -= count;
		*step = (struct fanout_step){
			.kind = batch ? EVENT_PUSH : order->kind,
			.batch = batch,
			.order_id = order->id,
			.user_id = order->has_user || !order->topic ? &order->user_id : NULL,
			.by_user = !batch && !order->topic,
			.subscribers = fanout->topic->subscribers + fanout->left,
			.count = count,
			.to_come = fanout->left,
		};
		return true;
	}
	return false;
}

bool fanout_has_more(const struct fanout *fanout)
{
	return fanout->has_more || has_work(fanout);
}

bool fanout_has_joined(const struct fanout *fanout)
{
	return fanout->has_joined;
}
