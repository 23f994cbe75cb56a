/*
 * One browser: from the upgrade, through its authentication, until its socket is gone. Owns what is
 * kept for it: the message that is arriving, the outbox, its place in subscriptions, deadlines and
 * presence.
 *
 * ws.c makes and frees sessions and tells them what libwebsockets heard; fanout.c hands them
 * pushes. A session that is to end says its last words first: session_end queues them, and the
 * Close frame goes out when all of it is sent. Nothing here blocks.
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/presence/client_address.h"
#include "gateway/events/frame.h"
#include "gateway/events/subscriptions.h"

struct gateway;
struct lws;
struct pending;
struct gauges;
struct session;

/* RFC 6455, section 7.4.1 and the IANA registry. */
enum close_code {
	CLOSE_NORMAL = 1000,
	CLOSE_GOING_AWAY = 1001,
	CLOSE_PROTOCOL_ERROR = 1002,
	CLOSE_NOT_UTF8 = 1007,
	CLOSE_POLICY = 1008,
	CLOSE_TOO_BIG = 1009,
	CLOSE_TRY_AGAIN = 1013
};

/* `peer` and `gateway` are borrowed; the topic's bytes are copied. */
struct session *session_new(struct gateway *gateway, struct lws *peer, const char *topic,
			    size_t topic_len, const struct client_address *address);

/* The socket is gone. NULL is allowed. */
void session_free(struct session *session);

/* A piece of a message: `is_final` with its last one. */
void session_on_message(struct session *session, const char *bytes, size_t len, bool is_text,
			bool is_final);

/* The client's Close frame: `payload` as it came. Answers it; the caller ends the connection. */
void session_on_close(struct session *session, const char *payload, size_t len);

/* Anything else that shows that the peer lives. */
void session_on_pong(struct session *session);

/* The connection can take more. */
void session_on_writable(struct session *session);

/* Drops the one that `pending` is embedded in: others need its place. */
void session_give_way(struct pending *pending);

/* The deadlines whose time has come. */
void session_on_deadlines(struct gateway *gateway);

/* True when its pushes carry their ids. */
bool session_is_resumable(const struct session *session);

/* Hints that a push is about to come: for the session itself, and a little later, when it is there,
 * for its connection. */
void session_prefetch(const struct session *session);
void session_prefetch_peer(const struct session *session);

/* A push for its topic, unless it was committed before this session subscribed. */
void session_deliver(struct session *session, struct frame *frame, int64_t event_id);

/* The same, orders to end: the topic is gone; the backend wants these sockets closed (all, or with
 * `user_id` not NULL that user's). */
void session_unregister(struct session *session, int64_t event_id);
void session_disconnect(struct session *session, int64_t event_id, const int64_t *user_id);

/* The same for the sockets of every topic. */
void session_disconnect_user(struct gateway *gateway, int64_t event_id, int64_t user_id);

/* The answer to those who asked for the status. */
void session_answer_status(struct gateway *gateway, const struct gauges *counts);

/* Works out anew when each session has to be looked at: the clock was set. */
void session_schedule_all(struct gateway *gateway);

/* Ends every session with 1001, without a word. */
void session_end_all(struct gateway *gateway);

/* The same for so many that `left` remain; what waits in their outboxes is still sent. */
void session_end_some(struct gateway *gateway, size_t left);

/* Drops those that are left; they are gone after a few turns of the loop. */
void session_drop_all(struct gateway *gateway);

/* The session of a topic's subscriber, and of one that audience_of_user gave. */
struct session *session_of(struct subscriber *subscriber);
struct session *session_of_user(struct subscriber *subscriber);

#endif
