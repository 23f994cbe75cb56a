/*
 * Judging auth frames, see authentication.h. State: the keys of the secrets. Reads the database,
 * and never blocks.
 */
#include "gateway/client/authentication.h"

#include "gateway/events/registry.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum { KEYS = 2 };

struct authenticator {
	struct registry *registry;
	struct token_key *keys[KEYS]; /* of the secret and of the previous one */
};

struct authenticator *authenticator_new(struct registry *registry)
{
	struct authenticator *authenticator = xcalloc(1, sizeof(*authenticator));

	authenticator->registry = registry;
	return authenticator;
}

void authenticator_free(struct authenticator *authenticator)
{
	if (!authenticator)
		return;
	for (size_t i = 0; i < KEYS; i++)
		token_key_free(authenticator->keys[i]);
	free(authenticator);
}

bool authenticator_take_secrets(struct authenticator *authenticator, const struct config *config)
{
	const char *secrets[KEYS] = {config->worker_secret, config->worker_secret_previous};
	bool good = true;

	for (size_t i = 0; i < KEYS; i++) {
		token_key_free(authenticator->keys[i]);
		authenticator->keys[i] = token_key_new(secrets[i]);
		good = good && (authenticator->keys[i] || !secrets[i][0]);
	}
	return good;
}

static enum verdict judge_token(const struct authenticator *authenticator, const char *topic,
				size_t topic_len, const struct message *message,
				struct token_claims *claims)
{
	enum token_verdict verdict = TOKEN_BAD;
	int64_t now_s = clock_wall_ms() / 1000;

	if (message->token_state != MESSAGE_TOKEN_GIVEN)
		return VERDICT_AUTH_REQUIRED;
	for (size_t i = 0; i < KEYS && verdict == TOKEN_BAD; i++)
		verdict = token_verify(authenticator->keys[i], message->token, message->token_len,
				       topic, topic_len, now_s, claims);
	switch (verdict) {
	case TOKEN_GOOD:
		return VERDICT_GOOD;
	case TOKEN_EXPIRED:
		return VERDICT_EXPIRED;
	case TOKEN_BAD:
		break;
	}
	return VERDICT_UNAUTHORIZED;
}

/* The topic is looked up again: since the upgrade it may have gone, or changed its mind about
 * tokens. */
enum verdict authentication_first(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct grant *grant)
{
	struct registered_topic found;
	enum verdict verdict = VERDICT_GOOD;

	*grant = (struct grant){0};
	if (message->kind != MESSAGE_AUTH || message->resume == MESSAGE_RESUME_MALFORMED)
		return VERDICT_AUTH_REQUIRED;
	if (registry_find(authenticator->registry, topic, topic_len, &found) != DATABASE_OK)
		return VERDICT_UNAVAILABLE;
	if (!found.registered)
		return VERDICT_UNREGISTERED;
	if (found.require_token)
		verdict = judge_token(authenticator, topic, topic_len, message, &grant->claims);
	else if (message->token_state == MESSAGE_TOKEN_NOT_TEXT)
		verdict = VERDICT_AUTH_REQUIRED;
	grant->newest_id = found.newest_id;
	grant->can_recover = message->last_event_id >= found.pruned_id &&
			     message->last_event_id <= found.newest_id;
	return verdict;
}

/* A token for the same topic and user moves the expiry. A client that needed none needs none
 * now. */
enum verdict authentication_again(struct authenticator *authenticator, const char *topic,
				  size_t topic_len, const struct message *message,
				  struct token_claims claims_then, struct grant *grant)
{
	*grant = (struct grant){.claims = claims_then};
	if (message->resume == MESSAGE_RESUME_MALFORMED)
		return VERDICT_AUTH_REQUIRED;
	if (claims_then.expires_s == 0)
		return message->token_state == MESSAGE_TOKEN_NOT_TEXT ? VERDICT_AUTH_REQUIRED
								      : VERDICT_GOOD;

	enum verdict verdict =
		judge_token(authenticator, topic, topic_len, message, &grant->claims);
	if (verdict == VERDICT_GOOD && grant->claims.user_id != claims_then.user_id)
		return VERDICT_UNAUTHORIZED;
	return verdict;
}
