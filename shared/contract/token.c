/*
 * Tokens, see token.h. State: a key holds OpenSSL's, after it has taken the secret in, which is
 * half the work of a short HMAC. Never blocks. Called for each auth frame, by the gateway and, for
 * polls, by the API, which also compares secrets here.
 *
 * Whatever goes wrong, OpenSSL's own failures included, is TOKEN_BAD: the only way in is a
 * signature that matches.
 */
#include "shared/contract/token.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "shared/base/alloc.h"
#include "shared/base/slice.h"
#include "shared/json/json.h"

enum { MAC_BYTES = 32, MAC_HEX_BYTES = 2 * MAC_BYTES };

struct token_key {
	EVP_MAC_CTX *mac;
};

struct token_key *token_key_new(const char *secret)
{
	struct token_key *key = xcalloc(1, sizeof(*key));
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	const OSSL_PARAM sha256[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
		OSSL_PARAM_construct_end(),
	};

	key->mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
	EVP_MAC_free(hmac);
	if (secret[0] && key->mac &&
	    EVP_MAC_init(key->mac, (const unsigned char *)secret, strlen(secret), sha256))
		return key;
	token_key_free(key);
	return NULL;
}

void token_key_free(struct token_key *key)
{
	if (!key)
		return;
	EVP_MAC_CTX_free(key->mac);
	free(key);
}

/* Lower case only, so that a token has one spelling. */
static bool hex_decode(const char *hex, size_t len, char *out)
{
	int byte = 0;

	for (size_t i = 0; i + 1 < len && byte >= 0; i += 2) {
		byte = hex_digit(hex[i]) * 16 | hex_digit(hex[i + 1]);
		out[i / 2] = (char)byte;
	}
	return byte >= 0 && len % 2 == 0;
}

static enum token_verdict read_claims(const char *text, size_t len, const char *topic,
				      size_t topic_len, int64_t now_s, struct token_claims *claims)
{
	enum { USER_ID, TOPIC, EXPIRES, MEMBERS };
	struct json_member members[MEMBERS] = {
		[USER_ID] = {.name = "user_id"},
		[TOPIC] = {.name = "topic"},
		[EXPIRES] = {.name = "expires"},
	};
	struct token_claims found = {.user_id = 0};
	char decoded[TOKEN_MAX_BYTES / 2]; /* "caf\u00e9" and "café" are one topic */
	size_t decoded_len, error_at;

	if (json_object_members(text, len, members, MEMBERS, &error_at) ||
	    !json_string_decode(members[TOPIC].value, decoded, sizeof(decoded), &decoded_len) ||
	    decoded_len != topic_len || memcmp(decoded, topic, topic_len) != 0 ||
	    !json_int64(members[EXPIRES].value, &found.expires_s))
		return TOKEN_BAD;
	if (members[USER_ID].value.kind != JSON_ABSENT &&
	    members[USER_ID].value.kind != JSON_NULL &&
	    !json_int64(members[USER_ID].value, &found.user_id))
		return TOKEN_BAD_USER;
	*claims = found;
	return now_s <= found.expires_s ? TOKEN_GOOD : TOKEN_EXPIRED;
}

enum token_verdict token_verify(struct token_key *key, const char *token, size_t token_len,
				const char *topic, size_t topic_len, int64_t now_s,
				struct token_claims *claims)
{
	unsigned char mac[MAC_BYTES];
	char given[MAC_BYTES], text[TOKEN_MAX_BYTES / 2];
	const char *dot;
	size_t hex_len, mac_len = 0;

	if (token_len <= MAC_HEX_BYTES + 1 || token_len > TOKEN_MAX_BYTES)
		return TOKEN_BAD;
	hex_len = token_len - MAC_HEX_BYTES - 1;
	dot = token + hex_len;
	if (*dot != '.' || !key || !EVP_MAC_init(key->mac, NULL, 0, NULL) ||
	    !EVP_MAC_update(key->mac, (const unsigned char *)token, hex_len) ||
	    !EVP_MAC_final(key->mac, mac, &mac_len, sizeof(mac)) || mac_len != MAC_BYTES ||
	    !hex_decode(dot + 1, MAC_HEX_BYTES, given) ||
	    CRYPTO_memcmp(given, mac, MAC_BYTES) != 0 || !hex_decode(token, hex_len, text))
		return TOKEN_BAD;
	return read_claims(text, hex_len / 2, topic, topic_len, now_s, claims);
}

bool secret_equals(const char *secret, const char *given, size_t given_len)
{
	size_t len = strlen(secret);

	return len > 0 && len == given_len && CRYPTO_memcmp(secret, given, len) == 0;
}
