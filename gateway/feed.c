/*
 * The gateway's reading side of the database, see feed.h. State: prepared statements and the
 * position. Runs on the event loop: short reads only. Failures come back as a status and are tried
 * again at the next look.
 */
#include "gateway/feed.h"

#include "shared/alloc.h"
#include "shared/clock.h"

struct feed {
	struct database *database;
	int64_t position;
	sqlite3_stmt *newest;
	sqlite3_stmt *next;
	sqlite3_stmt *topic;
};

struct feed *feed_open(struct database *database)
{
	struct feed *feed = xcalloc(1, sizeof(*feed));

	feed->database = database;
	feed->newest = database_prepare(database, "SELECT max(id) FROM events");
	feed->next = database_prepare(database, "SELECT id, kind, topic, payload FROM events "
						"WHERE id > ?1 ORDER BY id LIMIT ?2");
	feed->topic = database_prepare(
		database, "SELECT require_token, (SELECT max(id) FROM events) FROM topics "
			  "WHERE topic = ?1 AND expires_ms > ?2");
	if (sqlite3_step(feed->newest) == SQLITE_ROW)
		feed->position = sqlite3_column_int64(feed->newest, 0);
	sqlite3_reset(feed->newest);
	return feed;
}

void feed_close(struct feed *feed)
{
	if (!feed)
		return;
	sqlite3_finalize(feed->newest);
	sqlite3_finalize(feed->next);
	sqlite3_finalize(feed->topic);
	free(feed);
}

int64_t feed_position(const struct feed *feed)
{
	return feed->position;
}

void feed_payload(struct feed_event *event)
{
	sqlite3_stmt *next = event->feed->next;
	const char *payload = (const char *)sqlite3_column_text(next, 3);

	event->payload = payload ? payload : "null";
	event->payload_len = payload ? (size_t)sqlite3_column_bytes(next, 3) : 4;
}

enum database_status feed_poll(struct feed *feed, int limit, feed_handler *handler, void *context,
			       bool *more)
{
	sqlite3_stmt *next = feed->next;
	int result, count = 0;

	sqlite3_bind_int64(next, 1, feed->position);
	sqlite3_bind_int(next, 2, limit);
	while ((result = sqlite3_step(next)) == SQLITE_ROW) {
		const char *topic = (const char *)sqlite3_column_text(next, 2);
		struct feed_event event = {
			.id = sqlite3_column_int64(next, 0),
			.kind = (enum event_kind)sqlite3_column_int(next, 1),
			.topic = topic ? topic : "",
			.topic_len = (size_t)sqlite3_column_bytes(next, 2),
			.feed = feed,
		};

		handler(context, &event);
		feed->position = event.id;
		count++;
	}
	sqlite3_reset(next);
	*more = count == limit;
	return database_status_of(result);
}

enum database_status feed_find_topic(struct feed *feed, const char *topic, size_t len,
				     struct feed_topic *found)
{
	int result;

	*found = (struct feed_topic){0};
	sqlite3_bind_text64(feed->topic, 1, topic, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(feed->topic, 2, clock_wall_ms());
	result = sqlite3_step(feed->topic);
	if (result == SQLITE_ROW) {
		found->registered = true;
		found->require_token = sqlite3_column_int(feed->topic, 0) != 0;
		found->newest_id = sqlite3_column_int64(feed->topic, 1);
	}
	sqlite3_reset(feed->topic);
	return database_status_of(result);
}
