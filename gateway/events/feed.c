/*
 * The gateway's reading side of the database, see feed.h. State: prepared statements and the
 * position. Runs on the event loop: short reads only. Failures come back as a status and are tried
 * again at the next look.
 */
#include "gateway/events/feed.h"

#include "shared/base/alloc.h"

struct feed {
	struct database *database;
	int64_t position;
	int fault; /* why the current event cannot be read; SQLITE_OK: it can */
	sqlite3_stmt *newest;
	sqlite3_stmt *next;
	sqlite3_stmt *payload;
	sqlite3_stmt *range;
	sqlite3_stmt *replay;
};

static void prepare(struct feed *feed)
{
	struct database *database = feed->database;

	feed->newest = database_prepare(database, "SELECT max(id) FROM events");
	feed->next = database_prepare(database, "SELECT id, kind, topic, user_id FROM events "
						"WHERE id > ?1 ORDER BY id LIMIT ?2");
	feed->payload =
		database_prepare(database, "SELECT payload, created_ms FROM events WHERE id = ?1");
	/* Separate, because min() and max() together look at every row. */
	feed->range = database_prepare(
		database, "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events), "
			  "(SELECT kind FROM events ORDER BY id LIMIT 1)");
	feed->replay =
		database_prepare(database, "SELECT id, kind, topic, user_id FROM events "
					   "WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3");
}

static bool find_newest(struct feed *feed, char why[DATABASE_WHY_SIZE])
{
	bool found = sqlite3_step(feed->newest) == SQLITE_ROW;

	if (found)
		feed->position = sqlite3_column_int64(feed->newest, 0);
	else
		snprintf(why, DATABASE_WHY_SIZE, "cannot read the database: %s",
			 database_error(feed->database));
	sqlite3_reset(feed->newest);
	return found;
}

struct feed *feed_open(struct database *database, char why[DATABASE_WHY_SIZE])
{
	struct feed *feed = xcalloc(1, sizeof(*feed));

	feed->database = database;
	prepare(feed);
	if (database_is_prepared(database, why) && find_newest(feed, why))
		return feed;
	feed_close(feed);
	return NULL;
}

void feed_close(struct feed *feed)
{
	if (!feed)
		return;
	sqlite3_finalize(feed->newest);
	sqlite3_finalize(feed->next);
	sqlite3_finalize(feed->payload);
	sqlite3_finalize(feed->range);
	sqlite3_finalize(feed->replay);
	free(feed);
}

int64_t feed_position(const struct feed *feed)
{
	return feed->position;
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

static struct feed_event event_of(struct feed *feed, sqlite3_stmt *row)
{
	size_t topic_len;

	feed->fault = SQLITE_OK;
	const char *topic = text_of(feed, row, 2, "", &topic_len);

	return (struct feed_event){
		.id = sqlite3_column_int64(row, 0),
		.kind = (enum event_kind)sqlite3_column_int(row, 1),
		.topic = topic,
		.topic_len = topic_len,
		.has_user = sqlite3_column_type(row, 3) != SQLITE_NULL,
		.user_id = sqlite3_column_int64(row, 3),
		.feed = feed,
	};
}

enum database_status feed_poll(struct feed *feed, int limit, feed_handler *handler, void *context,
			       bool *more)
{
	sqlite3_stmt *next = feed->next;
	int result, count = 0;
	bool taken = true;

	sqlite3_bind_int64(next, 1, feed->position);
	sqlite3_bind_int(next, 2, limit);
	while (taken && (result = sqlite3_step(next)) == SQLITE_ROW) {
		struct feed_event event = event_of(feed, next);

		taken = feed->fault == SQLITE_OK && handler(context, &event);
		if (feed->fault != SQLITE_OK) {
			result = feed->fault;
			break;
		}
		if (taken) {
			feed->position = event.id;
			count++;
		}
	}
	sqlite3_reset(feed->payload);
	sqlite3_reset(next);
	*more = count == limit || (!taken && feed->fault == SQLITE_OK);
	return database_status_of(result);
}

/* Leaves the statement on its row, so that what is read next comes from the same snapshot; the
 * caller resets it. */
static int step_range(struct feed *feed, struct feed_range *range)
{
	int result = sqlite3_step(feed->range);

	*range = (struct feed_range){0};
	if (result == SQLITE_ROW) {
		range->oldest_id = sqlite3_column_int64(feed->range, 0);
		range->newest_id = sqlite3_column_int64(feed->range, 1);
		range->from_the_start = sqlite3_column_int(feed->range, 2) == EVENT_DATABASE_MADE;
	}
	return result;
}

enum database_status feed_find_range(struct feed *feed, struct feed_range *range)
{
	int result = step_range(feed, range);

	sqlite3_reset(feed->range);
	return database_status_of(result);
}

static bool is_push_of(const struct feed_event *event, const struct feed_replay *replay)
{
	return event->kind == EVENT_PUSH && event->topic_len == replay->topic_len &&
	       memcmp(event->topic, replay->topic, replay->topic_len) == 0;
}

static int replay_rows(struct feed *feed, struct feed_replay *replay, feed_replay_handler *handler,
		       void *context)
{
	sqlite3_stmt *row = feed->replay;
	int result, rows = 0;
	bool go_on = true;

	sqlite3_bind_int64(row, 1, replay->position);
	sqlite3_bind_int64(row, 2, replay->until);
	sqlite3_bind_int(row, 3, replay->max_rows);
	while ((result = sqlite3_step(row)) == SQLITE_ROW && go_on) {
		struct feed_event event = event_of(feed, row);
		bool is_wanted = is_push_of(&event, replay);

		if (feed->fault != SQLITE_OK || (is_wanted && !feed_payload(&event))) {
			result = feed->fault;
			break;
		}
		if (is_wanted)
			go_on = handler(context, &event);
		rows++;
		replay->position = event.id;
	}
	sqlite3_reset(feed->payload);
	sqlite3_reset(row);
	if (result == SQLITE_DONE && rows < replay->max_rows)
		replay->position = replay->until;
	return result;
}

enum database_status feed_replay(struct feed *feed, struct feed_replay *replay,
				 feed_replay_handler *handler, void *context)
{
	struct feed_range range;
	int result = step_range(feed, &range);

	/* Events are pruned from the oldest on. */
	replay->has_gap = result == SQLITE_ROW && range.oldest_id > replay->position + 1;
	if (result == SQLITE_ROW && !replay->has_gap)
		result = replay_rows(feed, replay, handler, context);
	sqlite3_reset(feed->range);
	return database_status_of(result);
}
