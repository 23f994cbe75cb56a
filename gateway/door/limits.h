/*
 * How many connections a gateway takes: as many as the configuration says and the descriptors
 * allow. Each connection needs one, WebSocket or not; some are kept for the gateway itself.
 */
#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H

#include <stddef.h>

#include "shared/config/config.h"

struct limits {
	size_t connections; /* WebSockets, authenticated or not */
	size_t pending; /* handshakes, and WebSockets that have not authenticated yet */
};

/* How many descriptors the configuration asks for; as many as can be had when it sets no limit. */
size_t limits_descriptors(const struct config *config);

/* The share of `all` that each of that many workers (0: there are none) may have, at least 1. */
size_t limits_share(size_t all, size_t workers);

/* The limits of a process that may have `descriptors`. These three are pure. */
struct limits limits_for(const struct config *config, size_t descriptors);

/* Asks the kernel for the descriptors that the configuration needs. Returns the limits of one of
 * that many workers (0: it is none), with a warning in the log when they are lower than the
 * configuration says, or than anybody can have meant. */
struct limits limits_take(const struct config *config, size_t workers);

#endif
