/*
 * The token with which a browser proves that the PHP backend let it in:
 *
 *	hex(claims) "." hex(HMAC-SHA256(key = secret, message = hex(claims)))
 *
 * lower-case hex; claims = {"user_id": int, "topic": string, "expires": unix seconds}. The
 * signature is checked first, in constant time, before the claims are looked at. No part of a token
 * is ever logged.
 */
#ifndef SHARED_TOKEN_H
#define SHARED_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A longer token is TOKEN_BAD: a client frame has room for no more. */
enum { TOKEN_MAX_BYTES = 4096 };

enum token_verdict {
	TOKEN_GOOD,
	TOKEN_BAD, /* malformed, forged, or for another topic */
	TOKEN_BAD_USER, /* genuine and for this topic, but its user_id is not an integer */
	TOKEN_EXPIRED /* genuine and for this topic, but past its expiry */
};

struct token_claims {
	int64_t user_id; /* 0: anonymous */
	int64_t expires_s; /* unix seconds; the token is good while now <= expires */
};

/* A secret, made ready to check with; one thread at a time. */
struct token_key;

/* The text is copied. NULL when it is empty or OpenSSL has no memory; then no token is good. Free
 * with token_key_free, which allows NULL. */
struct token_key *token_key_new(const char *secret);
void token_key_free(struct token_key *key);

/* Judges `token` for `topic` at `now_s` (unix seconds). *claims is filled for TOKEN_GOOD and
 * TOKEN_EXPIRED. "user_id" may be missing or null; "topic" and "expires" may not. An integer is one
 * without fraction or exponent. `key` may be NULL. */
enum token_verdict token_verify(struct token_key *key, const char *token, size_t token_len,
				const char *topic, size_t topic_len, int64_t now_s,
				struct token_claims *claims);

/* True when the two are equal and not empty. Takes the same time wherever they differ. */
bool secret_equals(const char *secret, const char *given, size_t given_len);

#endif
