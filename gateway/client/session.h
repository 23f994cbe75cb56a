/*
 * The life of one browser's connection: from the upgrade, through its authentication, until its
 * socket is gone. Owns what is kept for it: the outbox, its place in the audience, among the
 * deadlines and among those that have not authenticated. Only here is it decided that a connection
 * ends.
 *
 * A transport makes and frees sessions; conversation.c tells them what the client says, clients.c
 * what there is for it. A session that is to end says its last words first: session_end queues
 * them, and the Close frame goes out when all of it is sent. Nothing here blocks.
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/client/body.h"
#include "gateway/client/ending.h"
#include "gateway/events/batch.h"
#include "gateway/presence/presence.h"
#include "shared/contract/client_address.h"
#include "shared/contract/token.h"
#include "shared/database/registry.h"

struct clients;
struct frame;
struct lws;
struct message;
struct pending;
struct session;

/* Somebody whom the door lets in. All is borrowed for the call. */
struct newcomer {
	enum transport transport;
	const char *topic;
	size_t topic_len;
	struct client_address address;

	/* For a stream. */
	struct body body; /* of the request: nothing of it has been taken */
	const char *cors; /* lines for the head of the answer */
};

/* What a good auth message brings. */
struct grant {
	struct token_claims claims; /* all zero when no token was needed */
	struct registered_topic found; /* what comes after its `here` is new */
};

/* `peer` and `clients` are borrowed; the topic's bytes are copied. */
struct session *session_new(struct clients *clients, struct lws *peer,
			    const struct newcomer *newcomer);

/* The socket is gone. NULL is allowed. */
void session_free(struct session *session);

/* It has proved who it is: joins the audience, and is told so. `message` is its auth frame. */
void session_open(struct session *session, const struct message *message,
		  const struct grant *grant);

/* Sends one frame: at once, or after what waits. Takes its own reference. */
void session_send(struct session *session, struct frame *frame);

/* The connection can take more. */
void session_on_writable(struct session *session);

/* Takes the next batch of what it missed. */
void session_replay(struct session *session);

/* Pushes for its topic: it gets those that were committed after it subscribed. Or an order to end:
 * its topic is gone, or the backend wants the sockets of a topic or of a user closed. */
void session_deliver(struct session *session, struct batch *batch);

/* Sets the next time that session_on_deadline looks at it. */
void session_schedule(struct session *session);

/* Its time has come. */
void session_on_deadline(struct session *session, int64_t now_ms);

/* Leaves its topic, says the last words of `ending`, and closes. */
void session_end(struct session *session, enum ending ending);

/* The same, but what waits for it is not sent. */
void session_end_unsent(struct session *session, enum ending ending);

/* The client has closed: answers with this code (0: none). The caller ends the connection. */
void session_end_answered(struct session *session, uint16_t code);

/* The transport closes the connection, perhaps with a Close frame of its own: nothing may be
 * written after that. */
void session_on_closing(struct session *session);

/* Drops the connection without a word. */
void session_drop(struct session *session, enum ending ending);

/* Drops the session in which `pending` is embedded, because others need its place. False when it
 * was leaving anyway. */
bool session_give_way(struct pending *pending);

#endif
