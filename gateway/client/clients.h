/*
 * All clients of this process and what they share: who is there, what they are sent, and the limits
 * on that. The transports (transport.h) bring them in; the loop gives them their turns.
 */
#ifndef GATEWAY_CLIENTS_H
#define GATEWAY_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/config/config.h"
#include "shared/counters/counters.h"

struct clients;
struct feed;
struct gauges;
struct pending_list;
struct presence;
struct registry;
struct tally;
struct uv_loop_s;

/* All are borrowed. */
struct clients_parts {
	const struct config *config; /* may change in place, see clients_configure */
	struct uv_loop_s *loop;
	struct feed *feed;
	struct registry *registry;
	struct presence *presence;
	struct tally *tally;
	struct counters *counters;
};

/* NULL after logging that tokens cannot be checked: then nobody is let in. */
struct clients *clients_open(const struct clients_parts *parts);

/* The sessions must be gone. The loop must run once more, to close a timer. NULL is allowed. */
void clients_close(struct clients *clients);

/* Takes over the configuration as it is now. False in the cases in which clients_open gives
 * NULL. */
bool clients_configure(struct clients *clients);

/* A wakeup_look; `context` is the clients. Hands out what is new in the database, for a bounded
 * time. */
int clients_look(void *context);

/* The deadlines whose time has come. */
void clients_on_tick(struct clients *clients);

/* Works out again when each client has to be looked at, because the clock was set. */
void clients_reschedule(struct clients *clients);

/* The answer to those who asked for the status. */
void clients_answer_status(struct clients *clients, const struct gauges *gauges);

size_t clients_count(const struct clients *clients);

/* How much waits in all outboxes. */
size_t clients_outbox_bytes(const struct clients *clients);

/* Those that have not authenticated yet; the door puts its handshakes among them. */
struct pending_list *clients_pending(struct clients *clients);

/* Ends all clients with 1001, without another word. `is_late`: drops those that are left, which are
 * gone after a few turns of the loop. */
void clients_end_all(struct clients *clients, bool is_late);

/* The same, until `left` remain; what waits in their outboxes is still sent. */
void clients_end_some(struct clients *clients, size_t left);

#endif
