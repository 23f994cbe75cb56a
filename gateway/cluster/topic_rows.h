/*
 * All SQL of the cluster's thread about topics: those whose keys in Redis are not yet as they are
 * here, and rows that follow their keys. What was changed here and has not been relayed is left
 * alone: Redis will follow.
 */
#ifndef GATEWAY_TOPIC_ROWS_H
#define GATEWAY_TOPIC_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/contract/topic_name.h"
#include "shared/database/database.h"

struct topic_rows;

/* `database` is borrowed: database_is_prepared says whether it is good. Free it before the database
 * is closed; NULL is allowed. */
struct topic_rows *topic_rows_new(struct database *database);
void topic_rows_free(struct topic_rows *rows);

/* How a topic stands: in the database, or in Redis. */
struct topic_row {
	char name[TOPIC_MAX_BYTES];
	size_t len;
	bool is_registered; /* and not past its expiry; else the rest says nothing */
	bool require_token;
	int64_t expires_ms; /* wall clock of this machine; INT64_MAX: never */
	int64_t changes; /* of topic_rows_to_relay; 0: Redis is given it if it has none */
};

/* At most `max` of those that are to be relayed, and *count. */
enum database_status topic_rows_to_relay(struct topic_rows *rows, struct topic_row *out, size_t max,
					 size_t *count);

/* Inside a transaction: Redis has been told what that row said then. It stays to be relayed if it
 * has changed since. */
enum database_status topic_rows_relayed(struct topic_rows *rows, const struct topic_row *row);

/* Inside a transaction: all live topics that were registered since then (wall clock) are to be
 * relayed, those that nobody has changed only if Redis has none of that name. */
enum database_status topic_rows_give(struct topic_rows *rows, int64_t since_ms);

/* At most `max` live topics after `last` in the order of their names, but for worker.status, and
 * *count. `last` may be one of `out`. */
enum database_status topic_rows_walk(struct topic_rows *rows, const struct topic_row *last,
				     struct topic_row *out, size_t max, size_t *count);

/* Whether a topic that Redis has is not known here and could be; *is_full: max_topics are
 * registered. */
bool topic_rows_wants(struct topic_rows *rows, const char *topic, size_t len, int64_t max_topics,
		      bool *is_full);

enum topic_verdict {
	TOPIC_SAME, /* there is nothing to write */
	TOPIC_CHANGED,
	TOPIC_ONE_TOO_MANY, /* max_topics are registered */
	TOPIC_UNKNOWN /* it cannot be read now */
};

/* What the row of that topic has to do to be as `row`, which is how it stands in Redis. */
enum topic_verdict topic_rows_judge(struct topic_rows *rows, const struct topic_row *row,
				    int64_t max_topics);

/* Inside a transaction: does it. */
enum database_status topic_rows_follow(struct topic_rows *rows, const struct topic_row *row,
				       int64_t max_topics);

#endif
