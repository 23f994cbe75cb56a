/*
 * This node's own events on their way to Redis: in order, in batches, the next one when Redis has
 * taken the one before.
 */
#ifndef GATEWAY_RELAY_H
#define GATEWAY_RELAY_H

#include <stdbool.h>

struct cluster;
struct relay;

struct relay *relay_new(struct cluster *cluster);
void relay_free(struct relay *relay);

/* The state was loaded: what its relayed_id says is known to foreign nodes. */
void relay_on_load(struct relay *relay);

/* The link is up, and the log has been read to its end: what comes after the state's relayed_id is
 * not in it. */
void relay_on_link(struct relay *relay);
void relay_on_link_lost(struct relay *relay);
void relay_on_tick(struct relay *relay);

/* There may be something new. Cheap if there is not. */
void relay_look(struct relay *relay);

/* Nothing is on its way. */
bool relay_is_idle(const struct relay *relay);

#endif
