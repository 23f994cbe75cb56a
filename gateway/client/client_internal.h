/*
 * What the files of this folder share: the struct of all clients, made by clients.c, and that of
 * one session, made by session.c. Both belong to the event loop's thread.
 */
#ifndef GATEWAY_CLIENT_INTERNAL_H
#define GATEWAY_CLIENT_INTERNAL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/client/body.h"
#include "gateway/client/deadlines.h"
#include "gateway/client/outbox.h"
#include "gateway/client/pending.h"
#include "gateway/events/audience.h"
#include "gateway/events/batch.h"
#include "gateway/presence/tally.h"
#include "shared/base/container_of.h"
#include "shared/config/config.h"
#include "shared/contract/auth.h"
#include "shared/counters/counters.h"

enum session_state { SESSION_WAITING, SESSION_OPEN, SESSION_ENDING };

/* What a connection began with. */
struct opening {
	struct body body; /* a stream's: what is left of its request */
	const char *cors; /* and lines for the head of its answer */
	size_t topic_len;
	char topic[]; /* and those lines */
};

struct session {
	/* What a delivery looks at, kept together so that it fits into a cache line or two. */
	struct member member;
	struct clients *clients;
	struct lws *peer;
	int64_t after_id; /* it gets the pushes above this id */
	struct replay *replay; /* NULL: it gets whatever is new */
	struct outbox *outbox; /* NULL: it has never been behind */
	int fd; /* of the peer */
	uint16_t held; /* bytes of a frame that was cut, which the transport sends by itself */
	bool is_resumable; /* it gets ids, and may be sent away to resume */
	bool owes_ping; /* it was behind when its ping was due */
	uint8_t transport;

	uint8_t state;
	uint8_t ending; /* why it ends */
	bool wants_status;
	bool close_sent; /* or dropped: nothing more is written */
	uint16_t partial_len;
	union {
		/* The last question; the lower half of the clock, 0: none. */
		uint32_t status_at_ms;
		/* Of a stream, which asks nothing: what the client had not taken when its ping was
		 * due. */
		int unread;
	};
	char *partial; /* the message that is arriving; NULL: none */
	struct opening *opening; /* until it is answered */
	struct deadline deadline;
	struct pending pending; /* until it has authenticated */
	LIST_ENTRY(session) entry;
	struct client_address address;
	int64_t ordered_after_id; /* it gets the orders above this id */
	int64_t expires_s; /* 0: no token was needed */
	int64_t heard_ms, ping_at_ms;
	int64_t paid_us; /* its account of message_rate_take */
};

/* Most connections are idle, so this is most of what they cost. */
static_assert(sizeof(struct session) <= 248, "a session fits into 256 bytes of malloc's");

struct clients {
	const struct config *config; /* borrowed, like all of these */
	struct counters *counters;
	struct tally *tally;
	struct presence *presence;
	struct registry *registry;
	struct feed *feed;

	struct auth_keys keys;
	struct audience *audience;
	struct fanout *fanout;
	size_t look_deliveries; /* of what was read last */
	uint64_t look_ns; /* when that was, and how far it went */
	int64_t look_position;
	bool is_busy; /* events are coming fast, see EVENT_NS */
	struct replays *replays;
	struct deadlines deadlines;
	struct outbox_pool pool; /* what waits in all outboxes */
	struct frame *auth_ok; /* the frame that everyone gets */
	LIST_HEAD(, session) sessions; /* all of them */
	size_t session_count;
	struct pending_list pending; /* connections that have not authenticated */
};

#endif
