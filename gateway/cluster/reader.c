/*
 * Reading the log, see reader.h. State: what is being read, and why. The position, and how far this
 * node's own events have come back, are in the store. While the database cannot be written, the
 * same entries are asked for again and again, a few times a second.
 */
#include "gateway/cluster/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cluster/cluster_internal.h"
#include "gateway/cluster/link.h"
#include "gateway/cluster/store.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log_repeat.h"

enum {
	FIRST_COUNT = 16,
	FEWER = 4,
	BLOCK_MS = 1000,
	DEADLINE_MS = 2000,
	RETRY_MS = 50,
	FIELDS_MAX = 64, /* names and values of an entry */
	NUMBER_SIZE = 24
};

/* Ids begin at the clock, in microseconds. One of years ahead would leave its node no room for more
 * of them, and others would take none of those for new: whoever invents it must not get that far.
 */
static const int64_t AHEAD_US = INT64_C(10) * 365 * 86400 * 1000000;

struct reader {
	struct cluster *cluster;
	const struct reader_handlers *handlers;
	uv_timer_t retry;
	bool is_on, is_catching_up;
	enum log_verdict verdict;
	struct log_position end; /* of the log when the link opened */
	unsigned count, most; /* to ask for; until all has been read, no more than that */
	struct log_repeat trouble, refused, unknown;
};

/* What one answer holds. */
struct batch {
	size_t count, bytes;
	struct log_position last;
	int64_t own_id; /* the newest of this node's; 0: none */
	int64_t counts[COUNTERS]; /* what is counted once it is done */
	bool has_news; /* for the database */
	struct item {
		bool is_good; /* of another node */
		struct log_entry entry;
	} items[READ_COUNT_MOST];
};

static void ask(struct reader *reader);

static void on_retry(uv_timer_t *timer)
{
	ask(timer->data);
}

struct reader *reader_new(struct cluster *cluster, const struct reader_handlers *handlers)
{
	struct reader *reader = xcalloc(1, sizeof(*reader));

	reader->cluster = cluster;
	reader->handlers = handlers;
	reader->count = FIRST_COUNT;
	reader->most = READ_COUNT_MOST;
	reader->trouble = (struct log_repeat){.level = LOG_ERROR,
					      .message = "cannot write what other nodes have sent"};
	reader->refused = (struct log_repeat){
		.level = LOG_WARN, .message = "entries of the log in Redis were refused"};
	reader->unknown = (struct log_repeat){
		.level = LOG_ERROR,
		.message = "Redis has events of this node that its database does not know: it was "
			   "put back from a copy, or its state_dir was copied"};
	uv_timer_init(&cluster->loop, &reader->retry);
	reader->retry.data = reader;
	return reader;
}

static void free_reader(uv_handle_t *handle)
{
	free(handle->data);
}

void reader_free(struct reader *reader)
{
	if (reader)
		uv_close((uv_handle_t *)&reader->retry, free_reader);
}

void reader_on_link(struct reader *reader, enum log_verdict verdict, struct log_position newest)
{
	struct cluster_state *state = cluster_store_state(reader->cluster->store);

	if (verdict == LOG_LOST || verdict == LOG_FIRST_TIME) {
		state->position = (struct log_position){0};
		state->relayed_id = state->joined_id; /* until some are found */
	}
	reader->is_on = reader->is_catching_up = true;
	reader->verdict = verdict;
	reader->end = newest;
	ask(reader);
}

void reader_on_link_lost(struct reader *reader)
{
	reader->is_on = false;
	/* It may have been the answer that was too long. */
	reader->most = reader->count > FEWER ? reader->count / FEWER : 1;
	reader->count = reader->most;
	uv_timer_stop(&reader->retry);
}

/* One entry: its id and its fields. False when that is not what it is. */
static bool read_entry(struct reader *reader, const redisReply *reply, struct batch *batch)
{
	struct slice fields[FIELDS_MAX];
	struct item *item = &batch->items[batch->count];
	enum envelope_fault fault = ENVELOPE_GOOD;
	const redisReply *list;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    !log_position_read(
		    (struct slice){reply->element[0]->str, (size_t)reply->element[0]->len},
		    &batch->last))
		return false;
	list = reply->element[1];
	if (list->type != REDIS_REPLY_ARRAY || list->elements > FIELDS_MAX)
		fault = ENVELOPE_MALFORMED;
	for (size_t i = 0; i < list->elements && list->type == REDIS_REPLY_ARRAY; i++) {
		const redisReply *field = list->element[i];

		batch->bytes += (size_t)field->len;
		if (field->type != REDIS_REPLY_STRING)
			fault = ENVELOPE_MALFORMED;
		else if (i < FIELDS_MAX)
			fields[i] = (struct slice){field->str, (size_t)field->len};
	}
	if (fault == ENVELOPE_GOOD)
		fault = log_entry_read(fields, list->elements, &item->entry);
	if (fault == ENVELOPE_GOOD && item->entry.id > clock_wall_us() + AHEAD_US)
		fault = ENVELOPE_MALFORMED;
	item->is_good = false;
	batch->count++;
	if (fault != ENVELOPE_GOOD) {
		batch->counts[envelope_counter(fault)]++;
		log_repeat_event(&reader->refused, clock_monotonic_ms(),
				 log_text("cause", counter_names[envelope_counter(fault)].label));
	} else if (strcmp(item->entry.origin, cluster_store_state(reader->cluster->store)->node) ==
		   0) {
		batch->own_id = item->entry.id > batch->own_id ? item->entry.id : batch->own_id;
	} else {
		item->is_good = true;
		batch->has_news |= cluster_store_judge(reader->cluster->store, &item->entry,
						       false) != ENTRY_KNOWN;
	}
	return true;
}

/* [[name, [entry, ...]]] */
static bool read_batch(struct reader *reader, const redisReply *reply, struct batch *batch)
{
	const redisReply *entries;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
	    reply->element[0]->type != REDIS_REPLY_ARRAY || reply->element[0]->elements != 2)
		return false;
	entries = reply->element[0]->element[1];
	if (entries->type != REDIS_REPLY_ARRAY || entries->elements == 0 ||
	    entries->elements > READ_COUNT_MOST)
		return false;
	for (size_t i = 0; i < entries->elements; i++)
		if (!read_entry(reader, entries->element[i], batch))
			return false;
	return true;
}

static enum database_status add_item(struct reader *reader, struct batch *batch, struct item *item)
{
	struct cluster_store *store = reader->cluster->store;
	bool may_miss = reader->verdict == LOG_TRIMMED || reader->verdict == LOG_LOST;
	enum entry_verdict verdict = cluster_store_judge(store, &item->entry, may_miss);
	enum database_status status = DATABASE_OK;
	bool is_refused = false,
	     learns = reader->verdict == LOG_FIRST_TIME && reader->is_catching_up;

	if (!item->is_good || verdict == ENTRY_KNOWN)
		return DATABASE_OK;
	status = learns ? cluster_store_learn(store, &item->entry, &is_refused)
			: cluster_store_add(store, &item->entry, verdict, &is_refused);
	batch->counts[COUNT_CLUSTER_REFUSED_TOO_MANY_NODES] += is_refused;
	batch->counts[COUNT_CLUSTER_RECEIVED] += !is_refused && !learns;
	batch->counts[COUNT_CLUSTER_GAPS] += !is_refused && !learns && verdict == ENTRY_AFTER_GAP;
	item->is_good = !is_refused;
	return status;
}

/* One commit for all of them, and for the position. */
static enum database_status write_batch(struct reader *reader, struct batch *batch)
{
	struct cluster_store *store = reader->cluster->store;
	enum database_status status = cluster_store_begin(store);

	if (status != DATABASE_OK)
		return status;
	for (size_t i = 0; i < batch->count && status == DATABASE_OK; i++)
		status = add_item(reader, batch, &batch->items[i]);
	if (status == DATABASE_OK)
		return cluster_store_commit(store, &batch->last);
	cluster_store_give_up(store);
	return status;
}

/* Events of this node that it has never had: it goes on after them, or others would take its next
 * ones for those. */
static enum database_status jump(struct reader *reader, int64_t own_id)
{
	enum database_status status = DATABASE_OK;
	struct cluster_store *store = reader->cluster->store;

	if (own_id > cluster_store_state(store)->relayed_id &&
	    own_id > cluster_store_newest(store)) {
		status = cluster_store_jump(store, own_id);
		if (status == DATABASE_OK)
			log_repeat_event(&reader->unknown, clock_monotonic_ms());
	}
	return status;
}

static void tell_of_topics(struct reader *reader, const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];

		if (item->is_good && item->entry.kind == EVENT_UNREGISTER)
			reader->handlers->on_unregistered(reader->cluster, item->entry.topic.at,
							  item->entry.topic.len);
	}
}

static enum database_status apply(struct reader *reader, struct batch *batch)
{
	struct cluster *cluster = reader->cluster;
	struct cluster_state *state = cluster_store_state(cluster->store);
	enum database_status status = jump(reader, batch->own_id);

	if (status == DATABASE_OK && batch->has_news)
		status = write_batch(reader, batch);
	if (status != DATABASE_OK)
		return status;
	state->position = batch->last; /* without news it can wait */
	if (batch->own_id > state->relayed_id)
		state->relayed_id = batch->own_id;
	for (size_t i = 0; i < COUNTERS; i++)
		cluster->counters.counts[i] += batch->counts[i];
	if (batch->has_news) {
		notify_gateway(cluster->notify);
		tell_of_topics(reader, batch);
	}
	return DATABASE_OK;
}

/* It may drop the link. */
static void note_progress(struct reader *reader, bool is_empty)
{
	const struct cluster_state *state = cluster_store_state(reader->cluster->store);

	if (reader->is_catching_up &&
	    (is_empty || log_position_compare(state->position, reader->end) >= 0)) {
		reader->is_catching_up = false;
		reader->most = READ_COUNT_MOST;
		reader->handlers->on_caught_up(reader->cluster);
	}
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
	batch = xcalloc(1, sizeof(*batch));
	if (!read_batch(reader, reply, batch)) {
		link_refuse(reader->cluster->link, reply);
		free(batch);
		return;
	}
	status = apply(reader, batch);
	reader->count = read_count(reader->count, batch->bytes);
	if (reader->count > reader->most)
		reader->count = reader->most;
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
	uv_timer_start(&reader->retry, on_retry, RETRY_MS, 0);
}

static void ask(struct reader *reader)
{
	const struct cluster_state *state = cluster_store_state(reader->cluster->store);
	struct redis *redis = link_reader(reader->cluster->link);
	char position[LOG_POSITION_SIZE], count[NUMBER_SIZE], block[NUMBER_SIZE];
	const char *words[8] = {"XREAD", "COUNT", count};
	int used = 3;

	if (!reader->is_on || !redis)
		return;
	snprintf(count, sizeof(count), "%u", reader->count);
	snprintf(block, sizeof(block), "%d", BLOCK_MS);
	log_position_write(state->position, position);
	if (!reader->is_catching_up) {
		words[used++] = "BLOCK";
		words[used++] = block;
	}
	words[used++] = "STREAMS";
	words[used++] = CLUSTER_LOG;
	words[used++] = position;
	redis_command_for(redis, DEADLINE_MS + BLOCK_MS, on_entries, reader, used, words, NULL);
}
