/*
 * Reading the log, see reader.h. State: what is being read, and why. The position, and how far this
 * node's own events have come back, are in the store. While the database cannot be written, the
 * same entries are asked for again and again.
 */
#include "gateway/cluster/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/intake.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/store.h"
#include "gateway/cluster/topics.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	FEWER = 4,
	LATELY = 64, /* batches: by then the size of the largest entry is forgotten, by and by */
	FIELD_BYTES = 16, /* what a field costs beside its own */
	BLOCK_MS = 1000,
	BUSY_MS = 50, /* until the same is asked for again */
	FAILED_MS = 1000, /* the disk is full, perhaps: all of it is sent anew each time */
	FIELDS_MAX = 64 /* names and values of an entry */
};

/* Ids begin at the clock, in microseconds. One of years ahead would leave its node no room for more
 * of them, and others would take none of those for new: whoever invents it must not get that far.
 */
static const int64_t AHEAD_US = INT64_C(10) * 365 * 86400 * 1000000;

struct reader {
	struct cluster *cluster;
	void (*on_caught_up)(struct cluster *cluster);
	uv_timer_t retry;
	bool is_on, is_catching_up;
	enum log_verdict verdict;
	struct log_position end; /* of the log when the link opened */
	unsigned count, most; /* to ask for; until all has been read, no more than that */
	size_t largest; /* bytes of an entry, lately */
	struct log_repeat trouble, unknown;
};

/* What one answer holds. */
struct batch {
	size_t count, bytes, largest; /* largest: of an entry's bytes */
	struct log_position last;
	int64_t own_id; /* the newest of this node's; 0: none */
	bool has_news; /* for the database */
	struct item {
		enum envelope_fault fault;
		bool is_own, is_refused;
		enum entry_verdict verdict;
		struct log_entry entry;
	} items[];
};

static void ask(struct reader *reader);

static void on_retry(uv_timer_t *timer)
{
	ask(timer->data);
}

struct reader *reader_new(struct cluster *cluster, void (*on_caught_up)(struct cluster *cluster))
{
	struct reader *reader = xcalloc(1, sizeof(*reader));

	reader->cluster = cluster;
	reader->on_caught_up = on_caught_up;
	reader->count = READ_COUNT_FIRST;
	reader->most = READ_COUNT_MOST;
	reader->trouble = (struct log_repeat){.level = LOG_ERROR,
					      .message = "cannot write what other nodes have sent"};
	reader->unknown = (struct log_repeat){
		.level = LOG_ERROR,
		.message = "Redis has events of this node that its database does not know: it was "
			   "put back from a copy, or its state_dir was copied"};
	uv_timer_init(&cluster->loop, &reader->retry);
	reader->retry.data = reader;
	return reader;
}

void reader_free(struct reader *reader)
{
	if (reader)
		uv_close((uv_handle_t *)&reader->retry, free_data);
}

void reader_on_link(struct reader *reader, enum log_verdict verdict, struct log_position newest)
{
	struct cluster_state *state = cluster_store_state(reader->cluster->store);

	if (intake_load(reader->cluster->intake) != DATABASE_OK) {
		link_drop(reader->cluster->link, "the database cannot be read");
		return;
	}
	if (verdict == LOG_LOST) {
		state->reached.position = (struct log_position){0};
		state->reached.relayed_id = state->joined_id; /* until some are found */
		snprintf(state->marker, sizeof(state->marker), "%c%s", CLUSTER_UNREAD,
			 link_marker(reader->cluster->link));
	}
	reader->is_on = reader->is_catching_up = true;
	reader->verdict = verdict;
	reader->end = newest;
	ask(reader);
}

void reader_on_link_lost(struct reader *reader, bool was_too_long)
{
	reader->is_on = false;
	if (was_too_long)
		reader->count = reader->most = reader->count > FEWER ? reader->count / FEWER : 1;
	uv_timer_stop(&reader->retry);
}

/* One entry: its id and its fields. False when that is not what it is. */
static bool read_entry(struct reader *reader, const redisReply *reply, struct batch *batch)
{
	const struct cluster_state *state = cluster_store_state(reader->cluster->store);
	struct slice fields[FIELDS_MAX];
	struct item *item = &batch->items[batch->count++];
	int64_t now_us = clock_wall_us();
	const redisReply *list;
	size_t bytes = 0;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    !log_position_read(redis_bytes(reply->element[0]), &batch->last))
		return false;
	list = reply->element[1];
	if (list->type != REDIS_REPLY_ARRAY || list->elements > FIELDS_MAX)
		item->fault = ENVELOPE_MALFORMED;
	for (size_t i = 0; i < list->elements; i++) {
		const redisReply *field = list->element[i];

		bytes += (size_t)field->len + FIELD_BYTES;
		if (field->type != REDIS_REPLY_STRING)
			item->fault = ENVELOPE_MALFORMED;
		else if (i < FIELDS_MAX)
			fields[i] = redis_bytes(field);
	}
	batch->bytes += bytes;
	if (bytes > batch->largest)
		batch->largest = bytes;
	if (item->fault == ENVELOPE_GOOD)
		item->fault = log_entry_read(fields, list->elements, &item->entry);
	if (now_us < state->reached.relayed_id) /* this clock is behind */
		now_us = state->reached.relayed_id;
	if (item->fault == ENVELOPE_GOOD && item->entry.id > now_us + AHEAD_US)
		item->fault = ENVELOPE_MALFORMED;
	if (item->fault != ENVELOPE_GOOD)
		return true;
	item->is_own = strcmp(item->entry.origin, state->node) == 0;
	if (item->is_own && item->entry.id > batch->own_id)
		batch->own_id = item->entry.id;
	batch->has_news |= !item->is_own && (intake_judge(reader->cluster->intake, &item->entry,
							  false, &item->verdict) != DATABASE_OK ||
					     item->verdict != ENTRY_KNOWN);
	return true;
}

/* [[name, [entry, ...]]]. NULL: it is not. */
static struct batch *read_batch(struct reader *reader, const redisReply *reply)
{
	const redisReply *entries;
	struct batch *batch;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
	    reply->element[0]->type != REDIS_REPLY_ARRAY || reply->element[0]->elements != 2)
		return NULL;
	entries = reply->element[0]->element[1];
	if (entries->type != REDIS_REPLY_ARRAY || entries->elements == 0 ||
	    entries->elements > READ_COUNT_MOST)
		return NULL;
	batch = xcalloc(1, sizeof(*batch) + entries->elements * sizeof(struct item));
	while (batch->count < entries->elements) {
		if (!read_entry(reader, entries->element[batch->count], batch)) {
			free(batch);
			return NULL;
		}
	}
	return batch;
}

static enum database_status add_item(struct reader *reader, struct item *item)
{
	struct intake *intake = reader->cluster->intake;
	bool may_miss = reader->verdict == LOG_TRIMMED || reader->verdict == LOG_LOST ||
			reader->verdict == LOG_UNREAD;
	enum database_status status = DATABASE_OK;

	if (item->fault == ENVELOPE_GOOD && !item->is_own)
		status = intake_judge(intake, &item->entry, may_miss, &item->verdict);
	if (status != DATABASE_OK || item->verdict == ENTRY_KNOWN)
		return status;
	if (reader->verdict == LOG_FIRST_TIME && reader->is_catching_up)
		item->verdict = ENTRY_BEFORE_US;
	return intake_add(intake, &item->entry, item->verdict, &item->is_refused);
}

/* One commit for all of them, and for how far the log has been read. */
static enum database_status write_batch(struct reader *reader, struct batch *batch,
					const struct log_reached *reached)
{
	struct cluster *cluster = reader->cluster;
	enum database_status status = cluster_store_begin(cluster->store);

	if (status != DATABASE_OK)
		return status;
	for (size_t i = 0; i < batch->count && status == DATABASE_OK; i++)
		status = add_item(reader, &batch->items[i]);
	if (status == DATABASE_OK)
		status = intake_put(cluster->intake);
	status = cluster_store_end(cluster->store, status, reached);
	if (status != DATABASE_OK && intake_load(cluster->intake) != DATABASE_OK)
		link_drop(cluster->link, "the database cannot be read");
	return status;
}

/* Counts it once it has been done, and tells what follows from it. */
static void finish_item(struct reader *reader, const struct item *item)
{
	struct cluster *cluster = reader->cluster;
	int64_t *counts = cluster->counters.counts;

	if (item->fault != ENVELOPE_GOOD)
		refused_count(&cluster->refused, envelope_counter(item->fault), "log");
	else if (item->is_refused)
		refused_count(&cluster->refused, COUNT_CLUSTER_REFUSED_TOO_MANY_NODES, "log");
	else if (item->verdict != ENTRY_KNOWN && item->verdict != ENTRY_BEFORE_US) {
		counts[COUNT_CLUSTER_RECEIVED]++;
		counts[COUNT_CLUSTER_GAPS] += item->verdict == ENTRY_AFTER_GAP;
		if (item->entry.kind == EVENT_UNREGISTER)
			topics_look(cluster->topics, item->entry.topic);
	}
}

static enum database_status apply(struct reader *reader, struct batch *batch)
{
	struct cluster *cluster = reader->cluster;
	struct cluster_state *state = cluster_store_state(cluster->store);
	struct log_reached reached = {batch->last, state->reached.relayed_id};
	enum database_status status = DATABASE_OK;
	bool is_unknown = false;

	if (batch->own_id > reached.relayed_id) {
		status = cluster_store_meet(cluster->store, batch->own_id, &is_unknown);
		if (!is_unknown)
			reached.relayed_id = batch->own_id;
	}
	if (status == DATABASE_OK && batch->has_news)
		status = write_batch(reader, batch, &reached);
	if (status != DATABASE_OK)
		return status;
	state->reached = reached; /* without news, writing it can wait */
	if (is_unknown)
		log_repeat_event(&reader->unknown, clock_monotonic_ms());
	if (batch->has_news)
		notify_gateway(cluster->notify);
	for (size_t i = 0; i < batch->count; i++)
		finish_item(reader, &batch->items[i]);
	return DATABASE_OK;
}

/* It may drop the link. */
static void note_progress(struct reader *reader, bool is_empty)
{
	const struct cluster_state *state = cluster_store_state(reader->cluster->store);

	if (reader->is_catching_up &&
	    (is_empty || log_position_compare(state->reached.position, reader->end) >= 0)) {
		reader->is_catching_up = false;
		reader->most = READ_COUNT_MOST;
		reader->on_caught_up(reader->cluster);
	}
}

/* How many to ask for next. */
static void plan(struct reader *reader, const struct batch *batch)
{
	reader->largest -= reader->largest / LATELY;
	if (reader->largest < batch->largest)
		reader->largest = batch->largest;
	reader->count = read_count(reader->count, batch->bytes, reader->largest);
	if (reader->count > reader->most)
		reader->count = reader->most;
}

static void on_entries(void *context, const redisReply *reply)
{
	struct reader *reader = context;
	struct batch *batch;
	enum database_status status;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_NIL) {
		note_progress(reader, true);
		ask(reader);
		return;
	}
	batch = read_batch(reader, reply);
	if (!batch) {
		link_refuse(reader->cluster->link, reply);
		return;
	}
	status = apply(reader, batch);
	plan(reader, batch);
	free(batch);
	if (status == DATABASE_OK) {
		log_repeat_ends(&reader->trouble, clock_monotonic_ms(),
				"what other nodes have sent can be written again");
		note_progress(reader, false);
		ask(reader);
		return;
	}
	if (status != DATABASE_BUSY)
		log_repeat_event(&reader->trouble, clock_monotonic_ms(),
				 log_text("why", database_status_text(status)));
	if (reader->is_on) /* else the next link asks */
		uv_timer_start(&reader->retry, on_retry,
			       status == DATABASE_BUSY ? BUSY_MS : FAILED_MS, 0);
}

static void ask(struct reader *reader)
{
	const struct cluster_state *state = cluster_store_state(reader->cluster->store);
	struct redis *redis = link_reader(reader->cluster->link);
	char position[LOG_POSITION_SIZE];

	if (!reader->is_on || !redis)
		return;
	log_position_write(state->reached.position, position);
	if (reader->is_catching_up)
		redis_ask(redis, on_entries, reader, "XREAD COUNT %d STREAMS " CLUSTER_LOG " %s",
			  (int)reader->count, position);
	else
		redis_ask(redis, on_entries, reader,
			  "XREAD COUNT %d BLOCK %d STREAMS " CLUSTER_LOG " %s", (int)reader->count,
			  BLOCK_MS, position);
}
