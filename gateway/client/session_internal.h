/*
 * What session.c (life, sending, ending) and authentication.c (from the first frame on) share.
 * Nobody else includes it.
 */
#ifndef GATEWAY_SESSION_INTERNAL_H
#define GATEWAY_SESSION_INTERNAL_H

#include "gateway/client/deadlines.h"
#include "gateway/client/ending.h"
#include "gateway/client/outbox.h"
#include "gateway/client/pending.h"
#include "gateway/client/session.h"

enum {
	PING_EVERY_MS = 30000,
	SILENCE_LIMIT_MS = 60000,
	CLOSE_LIMIT_MS = 5000,
	STATUS_EVERY_MS = 700
};

enum session_state { SESSION_WAITING, SESSION_OPEN, SESSION_ENDING };

struct session {
	/* What a delivery looks at: together, so that it is in one cache line or two. */
	struct subscriber subscriber;
	struct gateway *gateway;
	struct lws *peer;
	int64_t after_id; /* it gets the pushes above this one */
	struct replay *replay; /* NULL: it gets what is new */
	struct outbox *outbox; /* NULL: it was never behind */
	int fd; /* of the peer */
	uint32_t last_len; /* of the frame that was written last */
	bool is_resumable; /* it gets ids, and may be sent away to come back */

	uint8_t state;
	uint8_t ending; /* why it ends */
	bool wants_status;
	bool close_sent; /* or dropped: nothing more is written */
	uint16_t partial_len, topic_len;
	uint32_t slot; /* of presence, while open */
	uint32_t tally_place;
	char *partial; /* the message that is arriving, NULL: none */
	char *topic; /* until it has subscribed */
	struct deadline deadline;
	struct pending pending; /* until it has authenticated */
	struct subscriber by_user; /* its place among the sockets of its user */
	struct session *next, *previous;
	struct client_address address;
	int64_t ordered_after_id; /* it gets the orders above this one */
	int64_t user_id;
	int64_t expires_s; /* 0: no token was needed */
	int64_t heard_ms, ping_at_ms;
	int64_t status_at_ms; /* the last answer */
	int64_t paid_us; /* its account of message_rate */
};

/* The line of log_connections; only while it is subscribed. */
void session_log(const struct session *session, const char *what);

/* Out of its topic and of everything that could still call it: nothing new comes to it. */
void session_leave(struct session *session);

/* Drops the connection without a word. */
void session_drop(struct session *session, enum ending ending);

/* Forgets what is queued. */
void session_clear_outbox(struct session *session);

/* It asks for the status, see worker_status.c. */
void session_ask_status(struct session *session);

/* One frame out: at once, or behind what waits. Takes its own reference. */
void session_send(struct session *session, struct frame *frame);

/* Leaves its topic, says the last words of `ending` and closes. */
void session_end(struct session *session, enum ending ending);

/* Before its state changes: once for each connection that ends. */
void session_count_end(struct session *session, enum ending ending);

/* Sets the next time that session_on_deadlines looks at it. */
void session_schedule(struct session *session);

/* A whole text message. */
void authentication_on_message(struct session *session, const char *text, size_t len);

/* A first frame that is not even text. */
void authentication_refuse(struct session *session);

/* True when its token has expired. */
bool authentication_is_over(const struct session *session);

#endif
