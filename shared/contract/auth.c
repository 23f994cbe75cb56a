/*
 * Judging auth frames, see auth.h. State: the caller's keys. Never blocks. Called with what
 * strangers send.
 */
#include "shared/contract/auth.h"

#include "shared/base/clock.h"
#include "shared/base/log.h"

enum { KEYS = sizeof(((struct auth_keys *)0)->keys) / sizeof(struct token_key *) };

bool auth_keys_set(struct auth_keys *keys, const char *secret, const char *previous)
{
	const char *secrets[KEYS] = {secret, previous};
	bool good = true;

	auth_keys_clear(keys);
	for (size_t i = 0; i < KEYS; i++) {
		keys->keys[i] = token_key_new(secrets[i]);
		good = good && (keys->keys[i] || !secrets[i][0]);
	}
	if (!good)
		log_event(LOG_ERROR, "cannot check tokens",
			  log_text("why", "OpenSSL gives no HMAC-SHA256"));
	return good;
}

void auth_keys_clear(struct auth_keys *keys)
{
	for (size_t i = 0; i < KEYS; i++)
		token_key_free(keys->keys[i]);
	*keys = (struct auth_keys){0};
}

enum auth_verdict auth_judge(const struct auth_keys *keys, const struct message *message,
			     const char *topic, size_t topic_len, bool needs_token,
			     struct token_claims *claims)
{
	enum token_verdict verdict = TOKEN_BAD;
	int64_t now_s = clock_wall_ms() / 1000;

	if (message->kind != MESSAGE_AUTH || message->resume == MESSAGE_RESUME_MALFORMED ||
	    message->token_state == MESSAGE_TOKEN_NOT_TEXT)
		return AUTH_REQUIRED;
	if (!needs_token)
		return AUTH_GOOD;
	if (message->token_state != MESSAGE_TOKEN_GIVEN)
		return AUTH_REQUIRED;
	for (size_t i = 0; i < KEYS && verdict == TOKEN_BAD; i++)
		verdict = token_verify(keys->keys[i], message->token, message->token_len, topic,
				       topic_len, now_s, claims);
	if (verdict == TOKEN_BAD_USER)
		log_event(LOG_DEBUG, "the user_id of a token is not an integer",
			  log_bytes("topic", topic, topic_len));
	if (verdict == TOKEN_GOOD)
		return AUTH_GOOD;
	return verdict == TOKEN_EXPIRED ? AUTH_EXPIRED : AUTH_UNAUTHORIZED;
}

struct auth_error auth_error(enum auth_verdict verdict)
{
	static const struct auth_error errors[] = {
		[AUTH_REQUIRED] = {400, MESSAGE_AUTH_REQUIRED},
		[AUTH_UNAUTHORIZED] = {401, MESSAGE_UNAUTHORIZED},
		[AUTH_EXPIRED] = {401, MESSAGE_AUTH_EXPIRED},
	};

	return errors[verdict];
}
