/*
 * All SQL of the API: a function for each operation, a transaction each, committed before it
 * returns STORE_OK; with `durability: full` it is on the disk by then. If only that has failed, the
 * change is there, but STORE_UNAVAILABLE says that nobody vouches for it.
 *
 * Every operation has one deadline for the write lock and SQLite's own lock together
 * (busy_timeout). After a write has timed out, the next one waits only a tenth of that, and those
 * that follow a fortieth, until one succeeds: callers queued behind a locked database get their 503
 * before they give up, instead of waiting one after the other.
 */
#ifndef API_STORE_H
#define API_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/counters/gauges.h"
#include "shared/counters/totals.h"
#include "shared/config/config.h"
#include "shared/database/database.h"
#include "shared/database/liveness.h"

enum store_outcome {
	STORE_OK,
	STORE_TOO_MANY_TOPICS, /* register: max_topics are there already */
	STORE_NOT_REGISTERED, /* publish: no such topic, or past its expiry */
	STORE_UNAVAILABLE /* store_why says why. Nothing was changed, unless the disk failed */
};

struct store;

/* `config`, `database` and `liveness` are borrowed and must live as long. Free with store_close,
 * before the database is closed. */
struct store *store_open(const struct config *config, struct database *database,
			 struct liveness *liveness);
void store_close(struct store *store);

/* Why the last operation was STORE_UNAVAILABLE, for the client: constant text. */
const char *store_why(const struct store *store);

/* worker.status is always registered: callers answer for it. */
enum store_outcome store_register(struct store *store, const char *topic, size_t topic_len,
				  bool require_token);

/* Also orders the gateway to end the topic's subscribers. */
enum store_outcome store_unregister(struct store *store, const char *topic, size_t topic_len);

/* *id is the new event's id. */
enum store_outcome store_publish(struct store *store, const char *topic, size_t topic_len,
				 const char *payload, size_t payload_len, int64_t *id);

/* Whose sockets; NULL: any topic, any user. */
struct store_target {
	const char *topic;
	size_t topic_len;
	const int64_t *user_id;
};

/* Orders the gateways to end these sockets; *sockets is how many there are. */
enum store_outcome store_disconnect(struct store *store, const struct store_target *target,
				    int64_t *sockets);

/* Around several of the reads below, so that all of them see the same moment. Write only after
 * store_read_end, which is due in any case. */
enum store_outcome store_read_begin(struct store *store);
void store_read_end(struct store *store);

/* How the service stands now: gauges_read and gauges_read_all. */
enum store_outcome store_gauges(struct store *store, struct gauges *gauges);
enum store_outcome store_all_gauges(struct store *store, struct gauges *gauges);

/* What all processes have counted, by `totals` of the same database. */
enum store_outcome store_totals(struct store *store, struct totals *totals, struct counters *sums);

/* Calls `each` for the live topics (or for those with a subscriber, when `active`) in byte order,
 * for at most `limit` (-1: all). */
typedef void store_topic_visitor(void *context, const char *topic, size_t topic_len);
enum store_outcome store_topics(struct store *store, bool active, int64_t limit,
				store_topic_visitor *each, void *context);

#endif
