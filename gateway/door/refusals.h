/*
 * Connections that do not become a WebSocket, counted and logged by cause: what repeats is said at
 * most once a minute.
 */
#ifndef GATEWAY_REFUSALS_H
#define GATEWAY_REFUSALS_H

#include "shared/counters/counters.h"

struct refusals;

/* `counters` is borrowed. Free with refusals_free, which writes what is not said yet; NULL is
 * allowed. */
struct refusals *refusals_new(struct counters *counters);
void refusals_free(struct refusals *refusals);

/* `cause` is one of COUNT_REFUSED_... */
void refusals_count(struct refusals *refusals, enum counter cause);

/* The log line alone, for what is counted elsewhere. */
void refusals_log(struct refusals *refusals, enum counter cause);

/* Writes what is due. */
void refusals_tick(struct refusals *refusals);

#endif
