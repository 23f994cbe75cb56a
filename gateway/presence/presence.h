/*
 * What the database is to say about this gateway: its `gateways` row, a `sessions` row for each
 * authenticated socket, and its counters. The event loop says here what has changed, without ever
 * waiting; the database thread (database_thread.h) takes it from here and writes it.
 *
 * Each session has a slot. The loop only marks slots as changed; the thread writes what a slot
 * holds now, in batches, as soon as the write lock is free. So nothing grows while the database is
 * locked, and a socket that came and went in the meantime is never written at all.
 */
#ifndef GATEWAY_PRESENCE_H
#define GATEWAY_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/contract/client_address.h"
#include "shared/contract/topic_name.h"
#include "shared/counters/counters.h"
#include "shared/counters/gauges.h"
#include "shared/database/housekeeping.h"

struct presence;
struct uv_loop_s;

/* Called on the loop with the gauges that presence_ask asked for; NULL when the database
 * could not be read. */
typedef void presence_answer(void *context, const struct gauges *gauges);

/* `loop` is borrowed. */
struct presence *presence_new(struct uv_loop_s *loop, struct housekeeping_limits limits,
			      presence_answer *answer, void *context);

/* Call it when the thread has ended. Frees all but the uv handle, which the loop must run once more
 * to close. NULL is allowed. */
void presence_free(struct presence *presence);

/* How a client is connected. The numbers are in the table `sessions`. */
enum transport { TRANSPORT_WEBSOCKET, TRANSPORT_STREAM, TRANSPORTS };

/* The loop's side. */

/* A socket has authenticated. `topic` must stay valid until presence_leave. `expires_s` 0: no
 * token. Returns its slot. */
uint32_t presence_join(struct presence *presence, const char *topic, size_t topic_len,
		       int64_t user_id, int64_t expires_s, const struct client_address *address,
		       enum transport transport);

/* Its token was renewed. */
void presence_renew(struct presence *presence, uint32_t slot, int64_t expires_s);

void presence_leave(struct presence *presence, uint32_t slot);

/* Who is there now, all sockets together. */
struct presence_audience {
	int64_t sockets;
	int64_t topics; /* that have a socket */
	int64_t clients; /* different users, and each anonymous socket */
};

/* Call it after each that joins or leaves. */
void presence_set_audience(struct presence *presence, struct presence_audience audience);

/* The value for gateways.last_event_id at the next write. */
void presence_set_position(struct presence *presence, int64_t last_event_id);

/* What has been counted since the start, and how much waits in all outboxes: copied, and written
 * soon if any of it, or the position, has changed. And the limits of the housekeeping. Call it
 * about once a second, and before the thread ends. */
void presence_beat(struct presence *presence, const struct counters *counters, size_t outbox_bytes,
		   struct housekeeping_limits limits);

/* The kinds of work for the thread. Its upkeep, about once a second, is its own affair. */
enum presence_work {
	PRESENCE_CHANGES = 1, /* presence_take, presence_give_back */
	PRESENCE_QUESTION = 2, /* presence_answer_gauges */
	PRESENCE_END = 4
};

/* PRESENCE_QUESTION asks for the gauges of the service, including all changes up to now if the lock
 * can be had; questions that wait are answered together. PRESENCE_END tells the thread to end. */
void presence_ask(struct presence *presence, enum presence_work work);

/* The table may have lost rows, by other gateways or with its file: all are written again. For both
 * sides. */
void presence_write_again(struct presence *presence);

/* The thread's side. */

/* Sleeps until there is work, for a second at most, and then a moment longer for changes that come
 * together; with `is_retry`, only for the short time after which a lock is tried again, whatever
 * has changed. Returns the kinds of work, ORed. */
unsigned presence_wait(struct presence *presence, bool is_retry);

enum { PRESENCE_BATCH = 256 }; /* rows in a transaction: others wait for the lock meanwhile */

struct presence_session {
	const char *topic; /* NULL: nobody, or nobody any more */
	uint16_t topic_len;
	int64_t user_id;
	int64_t expires_s;
	int64_t connected_ms;
	struct client_address address;
	uint8_t transport;
};

/* A slot as it was when it was taken. */
struct presence_change {
	uint32_t slot;
	bool was_written; /* the table has a row for the slot */
	struct presence_session session;
	char topic[TOPIC_MAX_BYTES]; /* a copy: session.topic may be gone */
};

struct presence_numbers {
	struct counters counters;
	int64_t outbox_bytes, last_event_id;
	struct presence_audience audience;
};

/* What one transaction writes. Begin with zeroes. */
struct presence_batch {
	struct presence_change changes[PRESENCE_BATCH];
	size_t count;
	bool has_news; /* there are changes, or other numbers; cleared when they are written */
	struct presence_numbers numbers;
	struct housekeeping_limits limits;
};

/* What is to be written next. `batch` is the one of the call before. */
void presence_take(struct presence *presence, struct presence_batch *batch);

/* What could not be written still counts as changed. */
void presence_give_back(struct presence *presence, const struct presence_batch *batch);

/* Wakes the loop up with the answer; NULL when the database could not be read. */
void presence_answer_gauges(struct presence *presence, const struct gauges *gauges);

#endif
