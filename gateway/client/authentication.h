/*
 * Who may come in: judges what an auth frame says by the topic's registration, the token and the
 * position that it wants to resume from (PROTOCOL.md, section 2). Tells nobody and ends nobody:
 * that is up to the session. A database that cannot be read never lets anyone in.
 */
#ifndef GATEWAY_AUTHENTICATION_H
#define GATEWAY_AUTHENTICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/client/message.h"
#include "shared/config/config.h"

struct authenticator;
struct feed;
struct registry;

/* Both are borrowed. Free with authenticator_free, which allows NULL. */
struct authenticator *authenticator_new(struct registry *registry, struct feed *feed);
void authenticator_free(struct authenticator *authenticator);

/* While a rotation is under way there are two. False when one of them cannot be used. */
bool authenticator_take_secrets(struct authenticator *authenticator, const struct config *config);

enum verdict {
	VERDICT_GOOD,
	VERDICT_AUTH_REQUIRED, /* not an auth frame as it should be */
	VERDICT_UNAUTHORIZED,
	VERDICT_EXPIRED,
	VERDICT_UNREGISTERED,
	VERDICT_UNAVAILABLE /* the database cannot be read */
};

/* Of VERDICT_GOOD. */
struct grant {
	struct token_claims claims; /* all zero when no token was needed */
	int64_t newest_id; /* of all events: what is above it is new */
	bool can_recover; /* of MESSAGE_RESUME_AFTER: all that came after is still there */
};

/* The first message of a client. */
enum verdict authentication_first(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct grant *grant);

/* A later auth frame of one who got `claims_then`: grant->claims is what holds from now on. */
enum verdict authentication_again(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct token_claims claims_then, struct grant *grant);

#endif
