/*
 * Reading events, see feed.h. State: prepared statements and the position. On the gateway's event
 * loop, or for a request: short reads only. Failures come back as a status and are tried again at
 * the next look.
 */
#include "shared/database/feed.h"

#include <inttypes.h>

#include "shared/base/alloc.h"
#include "shared/database/nodes.h"

struct feed {
	struct database *database;
	struct nodes *nodes; /* NULL: a single one */
	struct position *here; /* in a cluster: what goes with `position` */
	int64_t position;
	int64_t gap_after; /* 0: none */
	int times_lost; /* see database_times_lost */
	bool is_another; /* since the last feed_gap */
	bool is_unplaced; /* `here` is another database's */
	int fault; /* why the current event cannot be read; SQLITE_OK: it can */
	sqlite3_stmt *next;
	sqlite3_stmt *payload;
	sqlite3_stmt *ends;
};

/* What `ends` gives: the newest push of a topic that is gone; the newest event of all. */
enum { PRUNED_PUSH, NEWEST_EVENT, ENDS };

enum { ORIGIN_COLUMN = 4 };

#define NEXT(columns)                                                                              \
	"SELECT id, kind, topic, user_id" columns " FROM events "                                  \
	"WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"

/* Starts at the newest event, and in a cluster at the position of the same moment. */
static int begin(struct feed *feed)
{
	int result = sqlite3_step(feed->ends);

	if (result == SQLITE_ROW) {
		feed->position = sqlite3_column_int64(feed->ends, NEWEST_EVENT);
		if (feed->nodes)
			result = nodes_position(feed->nodes, feed->position, feed->here);
	}
	sqlite3_reset(feed->ends);
	return result;
}

struct feed *feed_open(struct database *database, struct nodes *nodes, char why[DATABASE_WHY_SIZE])
{
	struct feed *feed = xcalloc(1, sizeof(*feed));

	feed->database = database;
	feed->nodes = nodes;
	if (nodes)
		feed->here = xcalloc(1, sizeof(*feed->here));
	database_prepare(database, &feed->next, nodes ? NEXT(", origin") : NEXT(""));
	database_prepare(database, &feed->payload,
			 "SELECT payload, created_ms FROM events WHERE id = ?1");
	database_prepare(database, &feed->ends,
			 "SELECT coalesce((SELECT event_id FROM pruned WHERE topic = ?1), "
			 "(SELECT id - 1 FROM events ORDER BY id LIMIT 1)), "
			 "(SELECT max(id) FROM events)");
	if (database_is_prepared(database, why)) {
		if (database_status_of(begin(feed)) == DATABASE_OK)
			return feed;
		snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s",
			 database_error(database));
	}
	feed_close(feed);
	return NULL;
}

void feed_close(struct feed *feed)
{
	if (!feed)
		return;
	free(feed->here);
	free(feed);
}

int64_t feed_position(const struct feed *feed)
{
	return feed->position;
}

const struct position *feed_here(const struct feed *feed)
{
	return feed->here;
}

size_t feed_event_id(const struct feed_event *event, char out[POSITION_TEXT_SIZE])
{
	if (event->position)
		return position_write(event->position, out);
	return (size_t)snprintf(out, POSITION_TEXT_SIZE, "%" PRId64, event->id);
}

int64_t feed_gap(struct feed *feed, bool *is_another)
{
	int64_t after = feed->gap_after;

	*is_another = feed->is_another;
	feed->is_another = false;
	feed->gap_after = 0;
	return after;
}

const char *feed_error(const struct feed *feed)
{
	return database_error(feed->database);
}

/* A column's text and its length; SQL's NULL becomes `null`. Without memory for it the event cannot
 * be read. */
static const char *text_of(struct feed *feed, sqlite3_stmt *row, int column, const char *null,
			   size_t *len)
{
	const char *text;

	*len = strlen(null);
	if (sqlite3_column_type(row, column) == SQLITE_NULL)
		return null;
	text = (const char *)sqlite3_column_text(row, column);
	*len = (size_t)sqlite3_column_bytes(row, column);
	if (!text)
		feed->fault = SQLITE_NOMEM;
	return text ? text : "";
}

/* The row is read while the statement that found it is still on it, so in the same snapshot. */
bool feed_payload(struct feed_event *event)
{
	struct feed *feed = event->feed;
	sqlite3_stmt *row = feed->payload;

	sqlite3_reset(row);
	sqlite3_bind_int64(row, 1, event->id);
	int result = sqlite3_step(row);
	if (result == SQLITE_ROW) {
		event->payload = text_of(feed, row, 0, "null", &event->payload_len);
		event->created_ms = sqlite3_column_int64(row, 1);
	} else {
		feed->fault = result == SQLITE_DONE ? SQLITE_ABORT : result; /* no such row */
	}
	return feed->fault == SQLITE_OK;
}

/* Which event of which node the row is. */
static void read_origin(struct feed *feed, sqlite3_stmt *row, struct feed_event *event)
{
	bool is_own = sqlite3_column_type(row, ORIGIN_COLUMN) == SQLITE_NULL;
	bool counts;
	size_t len;
	const char *origin = text_of(feed, row, ORIGIN_COLUMN, "", &len);
	int result = nodes_pass(feed->nodes, event->id, event->kind, is_own, &counts);

	if (result != SQLITE_OK)
		feed->fault = result;
	position_origin(origin, len, &event->node, &event->number);
	if (counts) {
		event->node = feed->here->node;
		event->number = event->id;
	}
}

/* With the position of whoever gets it, which does not move if it is not taken. */
static bool hand_out(const struct feed_batch *batch, struct feed_event *event,
		     feed_handler *handler, void *context)
{
	struct position *position = batch->client ? &batch->client->position : event->feed->here;

	if (!position)
		return handler(context, event);
	if (batch->client &&
	    client_position_covers(batch->client, event->id, event->node, event->number))
		return true;
	int64_t id = position->id, newest = position_newest(position, event->node);
	position->id = event->id;
	if (event->number > newest)
		position_set(position, event->node, event->number);
	event->position = position;
	bool taken = handler(context, event);
	if (!taken) {
		position->id = id;
		position_set(position, event->node, newest);
	}
	return taken;
}

static int read_rows(struct feed *feed, struct feed_batch *batch, feed_handler *handler,
		     void *context)
{
	sqlite3_stmt *row = feed->next;
	int result = SQLITE_ROW, rows = 0;
	bool taken = true;

	sqlite3_bind_int64(row, 1, batch->position);
	sqlite3_bind_int64(row, 2, batch->until);
	sqlite3_bind_int(row, 3, batch->max_rows);
	while (taken && (result = sqlite3_step(row)) == SQLITE_ROW) {
		struct feed_event event = {
			.id = sqlite3_column_int64(row, 0),
			.kind = (enum event_kind)sqlite3_column_int(row, 1),
			.has_user = sqlite3_column_type(row, 3) != SQLITE_NULL,
			.user_id = sqlite3_column_int64(row, 3),
			.feed = feed,
		};

		feed->fault = SQLITE_OK;
		event.topic = text_of(feed, row, 2, "", &event.topic_len);
		if (feed->nodes)
			read_origin(feed, row, &event);
		bool is_of_others =
			batch->topic &&
			(event.kind != EVENT_PUSH || event.topic_len != batch->topic_len ||
			 memcmp(event.topic, batch->topic, batch->topic_len) != 0);
		if (event.id > batch->position + 1) {
			if (batch->gap_after == 0 && event.kind != EVENT_IDS_JUMPED)
				batch->gap_after = batch->position;
			batch->position = event.id - 1;
		}
		taken = feed->fault == SQLITE_OK &&
			(is_of_others || hand_out(batch, &event, handler, context));
		if (feed->fault != SQLITE_OK) {
			result = feed->fault;
			break;
		}
		if (taken) {
			batch->position = event.id;
			rows++;
		}
	}
	sqlite3_reset(feed->payload);
	sqlite3_reset(row);
	batch->has_more = result == SQLITE_ROW || rows == batch->max_rows;
	return result;
}

enum database_status feed_poll(struct feed *feed, int limit, feed_handler *handler, void *context,
			       bool *more)
{
	struct feed_batch batch = {
		.position = feed->position, .until = INT64_MAX, .max_rows = limit};
	int result = SQLITE_OK;

	if (feed->is_unplaced)
		result = nodes_position(feed->nodes, feed->position, feed->here);
	feed->is_unplaced = result != SQLITE_OK;
	if (result == SQLITE_OK)
		result = read_rows(feed, &batch, handler, context);
	feed->position = batch.position;
	feed->gap_after = feed->gap_after ? feed->gap_after : batch.gap_after;
	*more = batch.has_more;
	if (!*more) /* that was all, or nothing can be read */
		*more = database_refresh(feed->database);
	if (database_times_lost(feed->database) != feed->times_lost) {
		feed->times_lost = database_times_lost(feed->database);
		feed->is_another = true;
		feed->gap_after = feed->position;
		feed->is_unplaced = feed->nodes != NULL;
	}
	return database_status_of(result);
}

int64_t feed_pruned_id(struct feed *feed, const char *topic, size_t len)
{
	int64_t ends[ENDS];

	sqlite3_bind_text64(feed->ends, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	return database_read_numbers(feed->ends, ends, ENDS) == DATABASE_OK ? ends[PRUNED_PUSH]
									    : INT64_MAX;
}

enum database_status feed_replay(struct feed *feed, struct feed_batch *batch, feed_handler *handler,
				 void *context)
{
	int result;

	/* Stays on its row, so that what is read next comes from the same snapshot. */
	sqlite3_bind_text64(feed->ends, 1, batch->topic, batch->topic_len, SQLITE_STATIC,
			    SQLITE_UTF8);
	result = sqlite3_step(feed->ends);
	batch->has_gap = result == SQLITE_ROW &&
			 sqlite3_column_int64(feed->ends, PRUNED_PUSH) > batch->position;
	if (result == SQLITE_ROW && !batch->has_gap) {
		result = read_rows(feed, batch, handler, context);
		if (result == SQLITE_DONE && !batch->has_more)
			batch->position = batch->until;
	}
	sqlite3_reset(feed->ends);
	return database_status_of(result);
}
