/*
 * Any bytes as a token, which nobody can have signed: never good. Any bytes as claims that are
 * signed: good or expired only when they are what the contract says, and then nothing else passes
 * with that signature. And claims made from the input as the backend makes them: always what they
 * should be.
 */
#include "tests/fuzz/fuzz.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "shared/json/json.h"
#include "shared/contract/token.h"
#include "shared/contract/topic_name.h"

#define SECRET "0123456789abcdef0123456789abcdef"

enum { MAC_BYTES = 32, NOW_S = 1700000000 };

static const char default_topic[] = "topic";

static struct token_key *key, *other_key;

static void make_keys(void)
{
	if (key)
		return;
	key = token_key_new(SECRET);
	other_key = token_key_new(SECRET "x");
	assert(key && other_key);
}

static size_t hex(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = bytes;

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[from[i] >> 4];
		*out++ = digits[from[i] & 15];
	}
	return 2 * len;
}

/* The caller frees it. */
static char *sign(const char *claims, size_t claims_len, size_t *len)
{
	unsigned char mac[MAC_BYTES];
	char *token = malloc(2 * claims_len + 2 * MAC_BYTES + 2);

	assert(token);
	*len = hex(claims, claims_len, token);
	assert(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, (const unsigned char *)token, *len,
		    mac, NULL));
	token[(*len)++] = '.';
	*len += hex(mac, sizeof(mac), token + *len);
	return token;
}

static enum token_verdict judge(const char *token, size_t len, struct token_claims *claims)
{
	return token_verify(key, token, len, default_topic, strlen(default_topic), NOW_S, claims);
}

static void check_raw(const char *token, size_t len)
{
	struct token_claims claims;

	assert(judge(token, len, &claims) == TOKEN_BAD);
}

/* What a token that is let in must be like. */
static void check_claims(const char *text, size_t len, enum token_verdict verdict,
			 const struct token_claims *claims)
{
	struct json_member members[] = {
		{.name = "user_id"}, {.name = "topic"}, {.name = "expires"}};
	size_t error_at;
	int64_t number = 0;

	assert(!json_object_members(text, len, members, 3, &error_at));
	assert(json_string_is(members[1].value, default_topic));
	assert(json_int64(members[2].value, &number) && number == claims->expires_s);
	assert((verdict == TOKEN_GOOD) == (NOW_S <= number));
	number = 0;
	assert(json_int64(members[0].value, &number) || members[0].value.kind == JSON_ABSENT ||
	       members[0].value.kind == JSON_NULL);
	assert(number == claims->user_id);
}

static void check_change(char *token, size_t len, size_t at, unsigned bit)
{
	struct token_claims claims;
	char right = token[at];

	token[at] = (char)((unsigned char)right ^ 1u << bit);
	assert(judge(token, len, &claims) == TOKEN_BAD);
	token[at] = right;
}

static void check_no_other_passes(char *token, size_t len, unsigned choice)
{
	struct token_claims claims;

	assert(token_verify(other_key, token, len, default_topic, 5, NOW_S, &claims) == TOKEN_BAD);
	assert(token_verify(NULL, token, len, default_topic, 5, NOW_S, &claims) == TOKEN_BAD);
	assert(token_verify(key, token, len, default_topic, 4, NOW_S, &claims) == TOKEN_BAD);
	assert(token_verify(key, token, len, "topid", 5, NOW_S, &claims) == TOKEN_BAD);
	assert(judge(token, len - 1, &claims) == TOKEN_BAD);
	assert(judge(token + 1, len - 1, &claims) == TOKEN_BAD);
	check_change(token, len, choice % len, choice % 8);
	for (size_t at = len - 2 * MAC_BYTES - 1; at < len; at++) /* the dot and the signature */
		check_change(token, len, at, choice % 8);
}

static void check_signed(const char *text, size_t text_len)
{
	struct token_claims claims;
	size_t len;
	char *token = sign(text, text_len, &len);
	enum token_verdict verdict = judge(token, len, &claims);

	if (verdict == TOKEN_GOOD || verdict == TOKEN_EXPIRED) {
		assert(len <= TOKEN_MAX_BYTES);
		check_claims(text, text_len, verdict, &claims);
		check_no_other_passes(token, len, (unsigned char)text[text_len / 2]);
	}
	free(token);
}

/* The bytes as the topic of a token, each escaped as \u00xx when it is ASCII. */
static void check_made(int64_t user_id, int64_t expires_s, const char *topic, size_t topic_len)
{
	char text[TOPIC_MAX_BYTES * 6 + 128];
	struct token_claims claims;
	size_t len;

	if (topic_name_fault(topic, topic_len))
		return;
	int used = snprintf(text, sizeof(text),
			    "{\"user_id\":%" PRId64 ",\"expires\":%" PRId64 ",\"topic\":\"",
			    user_id, expires_s);
	for (size_t i = 0; i < topic_len; i++)
		used += snprintf(text + used, 7, topic[i] > 0 ? "\\u%04x" : "%c",
				 (unsigned char)topic[i]);
	used += snprintf(text + used, 3, "\"}");

	char *token = sign(text, (size_t)used, &len);
	enum token_verdict verdict =
		token_verify(key, token, len, topic, topic_len, NOW_S, &claims);
	enum token_verdict expected = len > TOKEN_MAX_BYTES ? TOKEN_BAD
				      : NOW_S <= expires_s  ? TOKEN_GOOD
							    : TOKEN_EXPIRED;
	assert(verdict == expected);
	if (verdict != TOKEN_BAD)
		assert(claims.user_id == user_id && claims.expires_s == expires_s);
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	int64_t numbers[2];

	make_keys();
	if (size > TOKEN_MAX_BYTES)
		return -1;
	check_raw(text, size);
	check_signed(text, size);
	if (size > sizeof(numbers)) {
		memcpy(numbers, text, sizeof(numbers));
		if (text[0] & 1)
			numbers[1] = NOW_S + text[1]; /* about now */
		check_made(numbers[0], numbers[1], text + sizeof(numbers), size - sizeof(numbers));
	}
	return 0;
}
