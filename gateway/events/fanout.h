/*
 * One event of the feed to all whom it concerns: a push becomes one shared frame that is written
 * straight to every subscriber that is not behind. Cost is proportional to the subscribers of that
 * topic and to nothing else.
 */
#ifndef GATEWAY_FANOUT_H
#define GATEWAY_FANOUT_H

#include "gateway/events/feed.h"

/* A wakeup_look; `context` is the gateway. Hands out what is new in the database, a batch at a
 * time; true when there is more. */
bool fanout_look(void *context);

#endif
