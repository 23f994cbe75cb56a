/*
 * Who may come in: judges an auth frame by the topic's registration, the token, and the position
 * from which it wants to resume. It tells nobody and ends nobody: that is up to the session. A
 * database that cannot be read never lets anyone in.
 */
#ifndef GATEWAY_AUTHENTICATION_H
#define GATEWAY_AUTHENTICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/client/message.h"
#include "shared/config/config.h"

struct authenticator;
struct registry;

/* `registry` is borrowed. Free with authenticator_free, which allows NULL. */
struct authenticator *authenticator_new(struct registry *registry);
void authenticator_free(struct authenticator *authenticator);

/* While a rotation is under way there are two. False when one of them cannot be used. */
bool authenticator_take_secrets(struct authenticator *authenticator, const struct config *config);

enum verdict {
	VERDICT_GOOD,
	VERDICT_AUTH_REQUIRED, /* not a proper auth frame */
	VERDICT_UNAUTHORIZED,
	VERDICT_EXPIRED,
	VERDICT_UNREGISTERED,
	VERDICT_UNAVAILABLE /* the database cannot be read */
};

/* Of VERDICT_GOOD. */
struct grant {
	struct token_claims claims; /* all zero when no token was needed */
	int64_t newest_id; /* the newest event when the topic was looked up: what is above it is new
			    */
	bool can_recover; /* for MESSAGE_RESUME_AFTER: everything that came after is still there */
};

/* The first message of a client. */
enum verdict authentication_first(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct grant *grant);

/* A later auth frame of a client that got `claims_then` before: grant->claims holds from now on. */
enum verdict authentication_again(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct token_claims claims_then, struct grant *grant);

#endif
