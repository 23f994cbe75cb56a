/*
 * What a client says: its first message, which must prove who it is, and the few that may follow. A
 * transport passes on here what it receives.
 */
#ifndef GATEWAY_CONVERSATION_H
#define GATEWAY_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

struct session;

/* A piece of a message; `is_final` for the last one. */
void conversation_on_message(struct session *session, const char *bytes, size_t len, bool is_text,
			     bool is_final);

/* A piece of the body of a stream's request; the bytes are changed. What comes after its end is not
 * looked at, but counts as messages do. */
void conversation_on_body(struct session *session, char *bytes, size_t len);

/* The client's Close frame: `payload` as it came. Answers it; the caller ends the connection. */
void conversation_on_close(struct session *session, const char *payload, size_t len);

/* Anything else that shows that the peer is alive. */
void conversation_on_pong(struct session *session);

#endif
