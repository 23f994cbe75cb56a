/*
 * The link to Redis: three connections (for commands; for reading the log; one that has
 * subscribed), made anew together when anything is wrong with one of them, and checked before
 * anything is done with them. It never gives up.
 */
#ifndef GATEWAY_LINK_H
#define GATEWAY_LINK_H

#include <stdbool.h>

#include "gateway/cluster/redis.h"
#include "gateway/cluster/rules.h"

struct cluster;
struct link;

/* What cluster.c is told. A handler may call link_drop, but not link_free. */
struct link_handlers {
	/* It is there: the log is to be read, up to `newest` before anything else. */
	void (*on_open)(struct cluster *cluster, enum log_verdict verdict,
			struct log_position newest);
	/* It is not there any more, or an attempt has failed. `why` is for people. */
	void (*on_lost)(struct cluster *cluster, const char *why);
	/* A message on a channel other than the link's own: `message` has three elements, the
	 * second one a string, and the third one may be anything. */
	void (*on_message)(struct cluster *cluster, const char *channel, const redisReply *message);
};

/* Both are borrowed. */
struct link *link_new(struct cluster *cluster, const struct link_handlers *handlers);

/* The handles close with the loop's next turn. NULL is allowed. */
void link_free(struct link *link);

/* From now on there is to be one; or none: then what there is is dropped, and on_lost is not
 * called. */
void link_start(struct link *link);
void link_stop(struct link *link);

/* Each second. */
void link_on_tick(struct link *link);

/* NULL unless it is open. */
struct redis *link_commands(struct link *link);
struct redis *link_reader(struct link *link);

/* Redis tells which topics have changed. */
bool link_has_tracking(const struct link *link);

/* What Redis is to remember this cluster by. */
const char *link_marker(const struct link *link);

/* Stops listening to the channels, or goes on. */
void link_pause(struct link *link, bool is_paused);

/* Redis may have lost its memory: asks it. */
void link_look(struct link *link);

/* Something is wrong: `why` is for people, constant or copied. */
void link_drop(struct link *link, const char *why);

/* An error as an answer; anything else is unexpected. NULL: the connection has ended, and the link
 * will hear of that. */
void link_refuse(struct link *link, const redisReply *reply);

/* A redis_answer, its context the link: for what may be answered by anything but an error. */
void link_done(void *link, const redisReply *reply);

/* True for an answer of that type; any other is refused. */
bool link_takes(struct link *link, const redisReply *reply, int type);

/* True when GET CLUSTER_MARKER has brought ours; else Redis has lost its memory, and the link is
 * dropped. */
bool link_is_marker(struct link *link, const redisReply *reply);

#endif
