/*
 * How many connections a gateway takes: what the configuration says, as far as the descriptors
 * reach. Each connection needs one, WebSocket or not; some are kept for the gateway itself. Pure.
 */
#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H

#include <stddef.h>

#include "shared/config/config.h"

struct limits {
	size_t connections; /* WebSockets, authenticated or not */
	size_t pending; /* handshakes and WebSockets that have not authenticated */
};

/* How many descriptors the configuration asks for; as many as can be had when it sets no limit. */
size_t limits_descriptors(const struct config *config);

/* What each of so many workers (0: there are none) may have of `all`, at least 1. */
size_t limits_share(size_t all, size_t workers);

/* The limits of a process that may have `descriptors`. */
struct limits limits_for(const struct config *config, size_t descriptors);

#endif
