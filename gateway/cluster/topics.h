/*
 * Topics of the cluster: what was registered or unregistered here becomes a key in Redis, and rows
 * here follow the keys of others. Redis says which keys have changed; after a reconnect all of them
 * are looked at. It also looks for topics that a browser names before they are known here.
 *
 * Whatever is written to the database is written in the order of Redis's answers, so that the last
 * word here is the last word there.
 */
#ifndef GATEWAY_TOPICS_H
#define GATEWAY_TOPICS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "shared/base/slice.h"

struct cluster;
struct topics;

struct topics *topics_new(struct cluster *cluster);

/* The memory is freed after the loop's next turn. NULL is allowed. */
void topics_free(struct topics *topics);

/* The state was loaded: until now another process may have had the link. */
void topics_on_load(struct topics *topics);

/* Redis is to be given topics that are known here, if it does not have them, and this is remembered
 * until it has been done: all when it has lost its memory or has never met this node; else what was
 * registered just before the link went, for that it may have lost without a trace. False when the
 * database cannot be written. */
bool topics_give(struct topics *topics, bool is_all);

void topics_on_link(struct topics *topics);
void topics_on_link_lost(struct topics *topics);
void topics_on_tick(struct topics *topics);

/* There may be topics to relay, or questions. */
void topics_on_tap(struct topics *topics);

/* What Redis says on __redis__:invalidate: an array of keys; nil when it was flushed. Anything else
 * says nothing. */
void topics_on_invalidation(struct topics *topics, const redisReply *keys);

/* Another node has unregistered it, but it may have been registered again since: its row follows
 * its key. */
void topics_look(struct topics *topics, struct slice topic);

#endif
