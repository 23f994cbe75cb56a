/*
 * For tests of tokens: they are signed here by another way through OpenSSL than the one under test,
 * and verified from memory of just their length. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_TOKEN_FIXTURE_H
#define TESTS_UNIT_TOKEN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>

#include "shared/base/alloc.h"
#include "shared/contract/token.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define TOPIC "club/1"
#define NOW INT64_C(1700000000)

/* The members of a good token, in the second of its expiry. */
#define CLAIMS "\"user_id\":1,\"topic\":\"club/1\",\"expires\":1700000000"

enum { MAC_SIZE = 32, SIGNATURE_SIZE = 2 * MAC_SIZE };

static struct token_key *key;

static inline int make_key(void **state)
{
	(void)state;
	key = token_key_new(SECRET);
	return key ? 0 : -1;
}

static inline int drop_key(void **state)
{
	(void)state;
	token_key_free(key);
	token_key_free(NULL);
	return 0;
}

static inline void hex(const unsigned char *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static inline void hmac_sha256(const char *secret, const char *message, size_t len,
			       char out[SIGNATURE_SIZE + 1])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(
		EVP_PKEY_HMAC, NULL, (const unsigned char *)secret, strlen(secret));
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char mac[MAC_SIZE];
	size_t mac_len = sizeof(mac);

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pkey), 1);
	assert_int_equal(
		EVP_DigestSign(context, mac, &mac_len, (const unsigned char *)message, len), 1);
	assert_int_equal(mac_len, MAC_SIZE);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	hex(mac, MAC_SIZE, out);
}

/* Whatever `body` is, with a signature that is good. The caller frees it. */
static inline char *sign(const char *secret, const char *body)
{
	size_t len = strlen(body);
	char *token = xcalloc(len + 1 + SIGNATURE_SIZE + 1, 1);

	memcpy(token, body, len);
	token[len] = '.';
	hmac_sha256(secret, body, len, token + len + 1);
	return token;
}

static inline char *token_of_bytes(const char *secret, const char *claims, size_t len)
{
	char *body = xcalloc(2 * len + 1, 1);
	char *token;

	hex((const unsigned char *)claims, len, body);
	token = sign(secret, body);
	free(body);
	return token;
}

static inline char *token_of(const char *claims)
{
	return token_of_bytes(SECRET, claims, strlen(claims));
}

/* In memory of just its length, against reading beyond. */
static inline enum token_verdict verify_bytes(const char *token, size_t len, const char *topic,
					      int64_t now_s, struct token_claims *claims)
{
	char *copy = xreallocarray(NULL, len, 1);
	enum token_verdict verdict;

	memcpy(copy, token, len);
	verdict = token_verify(key, copy, len, topic, strlen(topic), now_s, claims);
	free(copy);
	return verdict;
}

static inline enum token_verdict verdict_of(char *token)
{
	struct token_claims claims;
	enum token_verdict verdict = verify_bytes(token, strlen(token), TOPIC, NOW, &claims);

	free(token);
	return verdict;
}

#endif
