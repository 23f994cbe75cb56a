/*
 * Whether an auth frame opens a topic: for a WebSocket or a stream of the gateway, and for each
 * poll of the API. Reads the clock, and nothing else.
 */
#ifndef SHARED_AUTH_H
#define SHARED_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/contract/message.h"
#include "shared/contract/token.h"

/* What tokens are checked with: the secret, and the previous one while a rotation is under way.
 * Begin with zeroes. */
struct auth_keys {
	struct token_key *keys[2]; /* NULL: none, or OpenSSL had no memory for it */
};

/* Replaces the keys; `previous` may be "". False, after logging it, when OpenSSL cannot check
 * tokens: then none is good. */
bool auth_keys_set(struct auth_keys *keys, const char *secret, const char *previous);
void auth_keys_clear(struct auth_keys *keys);

enum auth_verdict {
	AUTH_GOOD,
	AUTH_REQUIRED, /* not an auth frame, or without what it must have */
	AUTH_UNAUTHORIZED,
	AUTH_EXPIRED
};

/* Judges what a client has sent. `needs_token`: whether the topic does; if not, none is looked at.
 * *claims is filled when one was needed and is genuine. */
enum auth_verdict auth_judge(const struct auth_keys *keys, const struct message *message,
			     const char *topic, size_t topic_len, bool needs_token,
			     struct token_claims *claims);

/* The HTTP answer to whoever is not let in: a status, and an error frame as the body. */
struct auth_error {
	int status;
	const char *frame;
};

/* For any verdict but AUTH_GOOD. */
struct auth_error auth_error(enum auth_verdict verdict);

#endif
