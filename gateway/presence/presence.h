/*
 * Tells the database who is connected: the `gateways` row of this process and a `sessions` row for
 * each authenticated socket. All writing of the gateway, and the housekeeping, happens here, on a
 * thread of its own with a connection of its own, so that the event loop never waits for a lock or
 * a disk.
 *
 * Each session has a slot. The loop only marks slots as changed; the thread writes what a slot
 * holds now, in batches, as soon as the write lock is free. So nothing grows while the database is
 * locked, and a socket that came and went in the meantime is never written at all.
 */
#ifndef GATEWAY_PRESENCE_H
#define GATEWAY_PRESENCE_H

#include <stdint.h>

#include "gateway/presence/client_address.h"
#include "shared/counters/gauges.h"
#include "shared/config/config.h"
#include "shared/counters/counters.h"
#include "shared/database/housekeeping.h"
#include "shared/database/liveness.h"

struct presence;
struct uv_loop_s;

/* Called on the loop with the counts that presence_count asked for; `known` is false when the
 * database could not be read. */
typedef void presence_counted(void *context, bool known, const struct gauges *counts);

struct presence_options {
	const struct config *config; /* borrowed */
	struct liveness *liveness; /* borrowed; this process has claimed its pid */
	struct uv_loop_s *loop; /* borrowed */
	const char *address; /* where the gateway listens; copied */
	presence_counted *counted;
	void *context;
};

/* Opens its connection and starts the thread. NULL with the reason in `why`. */
struct presence *presence_start(const struct presence_options *options,
				char why[DATABASE_WHY_SIZE]);

/* Removes this gateway's rows if the lock can be had within a second, ends the thread, and frees
 * all but the uv handle, which the loop must run once more to close. NULL is allowed. */
void presence_stop(struct presence *presence);

/* A socket has authenticated. `topic` must stay valid until presence_leave. `expires_s` 0: no
 * token. Returns its slot. */
uint32_t presence_join(struct presence *presence, const char *topic, size_t topic_len,
		       int64_t user_id, int64_t expires_s, const struct client_address *address);

/* Its token was renewed. */
void presence_renew(struct presence *presence, uint32_t slot, int64_t expires_s);

void presence_leave(struct presence *presence, uint32_t slot);

/* Who is there now, all sockets together. */
struct presence_headcount {
	int64_t sockets;
	int64_t topics; /* that have a socket */
	int64_t clients; /* different users, and each anonymous socket */
};

/* Call it after each that joins or leaves. */
void presence_headcount(struct presence *presence, struct presence_headcount headcount);

/* The value for gateways.last_event_id at the next write. */
void presence_position(struct presence *presence, int64_t last_event_id);

/* What was counted since the start, and how much waits in all outboxes: copied, and written soon if
 * it, or the position, has changed. Call it about once a second, and before presence_stop. */
void presence_account(struct presence *presence, const struct counters *counters,
		      size_t outbox_bytes);

/* New limits of the housekeeping. */
void presence_set_limits(struct presence *presence, struct housekeeping_limits limits);

/* Asks for the counts, all changes up to now included if the lock can be had; requests that wait
 * are answered together. */
void presence_count(struct presence *presence);

#endif
