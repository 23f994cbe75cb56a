/*
 * Events of foreign nodes, which are said on the channel wavelog:events and nowhere else. Nodes of
 * ours say theirs there too, for the foreign ones; here those are passed by, for they come by the
 * log.
 */
#ifndef GATEWAY_CHANNEL_H
#define GATEWAY_CHANNEL_H

#include <hiredis/hiredis.h>

struct channel;
struct cluster;

struct channel *channel_new(struct cluster *cluster);

/* What waits is lost. The memory is freed after the loop's next turn. NULL is allowed. */
void channel_free(struct channel *channel);

void channel_on_link(struct channel *channel);
void channel_on_link_lost(struct channel *channel);

/* `message` is what Redis says in the place of the message's bytes: it may be anything. */
void channel_on_message(struct channel *channel, const redisReply *message);

#endif
