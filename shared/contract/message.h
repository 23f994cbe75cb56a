/*
 * The frames of the contract (docs/clients.md): what a client may say, how often, and what it is
 * told. The gateway writes those of pushes and of the status (frame.c). Pure functions.
 */
#ifndef SHARED_MESSAGE_H
#define SHARED_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/contract/position.h"

/* The longest message a client may send, in bytes over all its fragments. */
enum { MESSAGE_MAX_BYTES = 4096 };

enum message_kind {
	MESSAGE_MALFORMED, /* not one JSON object, or not valid UTF-8 */
	MESSAGE_AUTH,
	MESSAGE_STATUS,
	MESSAGE_OTHER /* an object with another type, or with none */
};

enum message_token {
	MESSAGE_TOKEN_LEFT_OUT, /* missing, null or empty */
	MESSAGE_TOKEN_GIVEN,
	MESSAGE_TOKEN_NOT_TEXT /* not a string, or one without a UTF-8 form */
};

/* What "last_event_id" of an auth frame asks for. */
enum message_resume {
	MESSAGE_RESUME_NOT_ASKED, /* there is none: a plain client */
	MESSAGE_RESUME_FROM_NOW, /* null */
	MESSAGE_RESUME_AFTER, /* a position */
	MESSAGE_RESUME_MALFORMED
};

struct message {
	enum message_kind kind;
	enum message_resume resume; /* of MESSAGE_AUTH */
	struct position last_event_id; /* for MESSAGE_RESUME_AFTER, else all zero */
	enum message_token token_state; /* of MESSAGE_AUTH */
	size_t token_len; /* 0 unless one is given */
	char token[MESSAGE_MAX_BYTES]; /* decoded; no NUL after it */
};

/* Reads one client message; one longer than MESSAGE_MAX_BYTES is malformed. If a member is given
 * twice, the last one counts. */
void message_parse(const char *text, size_t len, struct message *out);

/* What the server says, where nothing in it varies. */
#define MESSAGE_AUTH_OK "{\"type\":\"auth_ok\"}"
#define MESSAGE_AUTH_REQUIRED                                                                      \
	"{\"type\":\"error\",\"code\":\"auth_required\",\"message\":\"first frame must be "        \
	"{type:auth,token:...}\"}"
#define MESSAGE_UNAUTHORIZED                                                                       \
	"{\"type\":\"error\",\"code\":\"unauthorized\",\"message\":\"invalid or expired token\"}"
#define MESSAGE_AUTH_EXPIRED                                                                       \
	"{\"type\":\"error\",\"code\":\"auth_expired\",\"message\":\"token expired\"}"
#define MESSAGE_DISCONNECTED                                                                       \
	"{\"type\":\"error\",\"code\":\"disconnected\",\"message\":\"disconnected by the "         \
	"server\"}"
#define MESSAGE_TOPIC_UNREGISTERED                                                                 \
	"{\"type\":\"error\",\"code\":\"topic_unregistered\",\"message\":\"topic unregistered\"}"

enum { MESSAGE_RESUMED_SIZE = 64 + POSITION_TEXT_SIZE };

/* {"type":"auth_ok","last_event_id":<position>,"recovered":<recovered>}; returns its length. */
size_t message_resumed_write(char out[MESSAGE_RESUMED_SIZE], const struct position *last_event_id,
			     bool recovered);

enum { MESSAGE_BURST_S = 2 };

/* How fast one client may send messages: a token bucket that holds MESSAGE_BURST_S seconds' worth,
 * kept as one number (the "generic cell rate algorithm"). A message has come at `now_ms`
 * (monotonic). False when that is more than `per_second` allows (0: no limit); then it is not
 * counted. *paid_us is the client's account, 0 at first. */
bool message_rate_take(int64_t *paid_us, int64_t now_ms, int64_t per_second);

#endif
