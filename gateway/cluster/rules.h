/*
 * What the cluster decides without asking anybody: when to try again, whether Redis still has the
 * log as it was, and what an entry of another node means. Pure functions.
 */
#ifndef GATEWAY_RULES_H
#define GATEWAY_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/slice.h"

/* When the next attempt begins, counted from the begin of the one that has failed, after `failures`
 * in a row (from 1). `random`: any number. Between BACKOFF_FIRST_MS and BACKOFF_MOST_MS, less a
 * quarter at most: so nodes that have lost Redis together do not come back together. */
enum { BACKOFF_FIRST_MS = 100, BACKOFF_MOST_MS = 2000 };
int64_t backoff_ms(unsigned failures, uint64_t random);

/* The id of an entry of the log: "1700000000000-0". */
struct log_position {
	uint64_t ms, number;
};
enum { LOG_POSITION_SIZE = 48 };

/* False, and *out is left alone, unless it is one. */
bool log_position_read(struct slice text, struct log_position *out);
void log_position_write(struct log_position position, char out[LOG_POSITION_SIZE]);
/* Below 0, 0 or above 0, as memcmp. */
int log_position_compare(struct log_position a, struct log_position b);

/* What a node finds that comes to Redis. */
struct log_findings {
	bool is_new_here; /* this node has never been there */
	bool has_marker; /* and it is the one that we know */
	bool is_unread; /* but we have not read all of its log again since it was lost */
	bool has_log;
	bool has_entry; /* the last one that we have read, or we have read none */
	bool has_first; /* the log is not empty; its first one: */
	struct log_position first;
	struct log_position newest; /* of all that ever were in the log; 0-0: none */
};

enum log_verdict {
	LOG_FIRST_TIME, /* what it holds was there before us: learn from it, take nothing */
	LOG_GOES_ON,
	LOG_TRIMMED, /* entries that we have not read may be gone */
	LOG_LOST, /* Redis has lost its memory, or a part of it: read all of it again */
	LOG_UNREAD /* it had, and that was interrupted: go on */
};

/* `position`: up to which we have read it. */
enum log_verdict log_judge(const struct log_findings *findings, struct log_position position);

/* What becomes of an event of another node of ours. `last_id`: its newest one that has come; 0:
 * none ever has. `may_miss`: we may have missed the first ones of nodes that we do not know. */
enum entry_verdict {
	ENTRY_KNOWN, /* it came before */
	ENTRY_NEW,
	ENTRY_AFTER_GAP, /* new, and others before it will never come */
	ENTRY_FIRST, /* new, the first of its node to come; earlier ones were not for us */
	ENTRY_BEFORE_US /* not for us: from before we came. Says how far its node was. Not judged so
			 */
};
enum entry_verdict entry_judge(int64_t last_id, int64_t id, int64_t prev, bool may_miss);

/* The `prev` of an event of this node that follows `last_id` in the log (its newest one there, or
 * up to which they stay at home). `gone_id`: up to which pushes were pruned. */
int64_t prev_of(int64_t last_id, int64_t gone_id, int64_t joined_id);

/* How many entries to ask for, after `count` of them had that many bytes: the more, the smaller
 * they are, for each answer takes the time of the way. `largest`: the bytes of the largest one that
 * has come lately. So many of these must fit into REPLY_MAX_BYTES. */
enum {
	READ_COUNT_FIRST = 16,
	READ_COUNT_MOST = 256,
	READ_BYTES = 1024 * 1024,
	READ_BYTES_MOST = 60 * 1024 * 1024
};
unsigned read_count(unsigned count, size_t bytes, size_t largest);

#endif
