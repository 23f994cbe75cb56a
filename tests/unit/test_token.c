/*
 * Tokens: what is let in, what is expired, and every kind of broken token. Tokens are signed here
 * by another way through OpenSSL than the one under test, which is held against RFC 4231 first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <openssl/evp.h>

#include "shared/alloc.h"
#include "shared/token.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define TOPIC "club/1"
#define NOW INT64_C(1700000000)

enum { MAC_SIZE = 32, SIGNATURE_SIZE = 2 * MAC_SIZE };

static struct token_key *key;

static int make_key(void **state)
{
	(void)state;
	key = token_key_new(SECRET);
	return key ? 0 : -1;
}

static int drop_key(void **state)
{
	(void)state;
	token_key_free(key);
	token_key_free(NULL);
	return 0;
}

static void hex(const unsigned char *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void hmac_sha256(const char *secret, const char *message, size_t len,
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
static char *sign(const char *secret, const char *body)
{
	size_t len = strlen(body);
	char *token = xcalloc(len + 1 + SIGNATURE_SIZE + 1, 1);

	memcpy(token, body, len);
	token[len] = '.';
	hmac_sha256(secret, body, len, token + len + 1);
	return token;
}

static char *token_of_bytes(const char *secret, const char *claims, size_t len)
{
	char *body = xcalloc(2 * len + 1, 1);
	char *token;

	hex((const unsigned char *)claims, len, body);
	token = sign(secret, body);
	free(body);
	return token;
}

static char *token_of(const char *claims)
{
	return token_of_bytes(SECRET, claims, strlen(claims));
}

/* In memory of just its length, against reading beyond. */
static enum token_verdict verify_bytes(const char *token, size_t len, const char *topic,
				       int64_t now_s, struct token_claims *claims)
{
	char *copy = xreallocarray(NULL, len, 1);
	enum token_verdict verdict;

	memcpy(copy, token, len);
	verdict = token_verify(key, copy, len, topic, strlen(topic), now_s, claims);
	free(copy);
	return verdict;
}

static enum token_verdict verdict_of(char *token)
{
	struct token_claims claims;
	enum token_verdict verdict = verify_bytes(token, strlen(token), TOPIC, NOW, &claims);

	free(token);
	return verdict;
}

static void the_signature_is_that_of_rfc_4231(void **state)
{
	(void)state;
	char mac[SIGNATURE_SIZE + 1];

	hmac_sha256("Jefe", "what do ya want for nothing?", 28, mac);
	assert_string_equal(mac,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void a_token_made_elsewhere_is_good(void **state)
{
	(void)state;
	/* By Python's hmac, of {"user_id":7,"topic":"club/1","expires":1700000000}. */
	static const char token[] =
		"7b22757365725f6964223a372c22746f706963223a22636c75622f31222c2265787069726573223a31"
		"3730303030303030307d"
		".b3bf91d35dd61f6b6b15fefa1dd836bc5ff2191993623f8ddf411937dde0b15f";
	struct token_claims claims = {0};

	assert_int_equal(verify_bytes(token, strlen(token), TOPIC, NOW, &claims), TOKEN_GOOD);
	assert_int_equal(claims.user_id, 7);
	assert_int_equal(claims.expires_s, NOW);
}

static void it_is_good_up_to_and_in_the_second_of_its_expiry(void **state)
{
	(void)state;
	static const struct {
		const char *expires;
		int64_t now_s;
		enum token_verdict verdict;
	} cases[] = {
		{"1700000000", NOW, TOKEN_GOOD},
		{"1700000000", NOW - 1, TOKEN_GOOD},
		{"1700000000", NOW + 1, TOKEN_EXPIRED},
		{"9223372036854775807", NOW, TOKEN_GOOD},
		{"9223372036854775807", INT64_MAX, TOKEN_GOOD},
		{"9223372036854775808", NOW, TOKEN_BAD}, /* does not fit */
		{"99999999999999999999", NOW, TOKEN_BAD},
		{"0", NOW, TOKEN_EXPIRED},
		{"-1", NOW, TOKEN_EXPIRED},
		{"-9223372036854775808", NOW, TOKEN_EXPIRED},
		{"-9223372036854775809", NOW, TOKEN_BAD},
		{"1700000001.5", NOW, TOKEN_BAD},
		{"1.7e10", NOW, TOKEN_BAD},
		{"\"1700000001\"", NOW, TOKEN_BAD},
		{"null", NOW, TOKEN_BAD},
		{"true", NOW, TOKEN_BAD},
		{"[1700000001]", NOW, TOKEN_BAD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		struct token_claims claims = {.user_id = -7};

		snprintf(text, sizeof(text), "{\"user_id\":1,\"topic\":\"club/1\",\"expires\":%s}",
			 cases[i].expires);
		char *token = token_of(text);
		if (verify_bytes(token, strlen(token), TOPIC, cases[i].now_s, &claims) !=
		    cases[i].verdict)
			fail_msg("expires %s", cases[i].expires);
		if (cases[i].verdict == TOKEN_BAD)
			assert_int_equal(claims.user_id, -7);
		else
			assert_int_equal(claims.expires_s, strtoll(cases[i].expires, NULL, 10));
		free(token);
	}
}

static void a_user_is_an_integer_or_nobody(void **state)
{
	(void)state;
	static const struct {
		const char *member;
		enum token_verdict verdict;
		int64_t user_id;
	} cases[] = {
		{"", TOKEN_GOOD, 0},
		{"\"user_id\":null,", TOKEN_GOOD, 0},
		{"\"user_id\":0,", TOKEN_GOOD, 0},
		{"\"user_id\":-0,", TOKEN_GOOD, 0},
		{"\"user_id\":42,", TOKEN_GOOD, 42},
		{"\"user_id\":-1,", TOKEN_GOOD, -1},
		{"\"user_id\":9223372036854775807,", TOKEN_GOOD, INT64_MAX},
		{"\"user_id\":9223372036854775808,", TOKEN_BAD, 0},
		{"\"user_id\":\"42\",", TOKEN_BAD, 0},
		{"\"user_id\":\"\",", TOKEN_BAD, 0},
		{"\"user_id\":42.0,", TOKEN_BAD, 0},
		{"\"user_id\":4e1,", TOKEN_BAD, 0},
		{"\"user_id\":true,", TOKEN_BAD, 0},
		{"\"user_id\":{},", TOKEN_BAD, 0},
		{"\"user_id\":[42],", TOKEN_BAD, 0},
		{"\"User_id\":42,", TOKEN_GOOD, 0},
		/* the last one counts */
		{"\"user_id\":1,\"user_id\":2,", TOKEN_GOOD, 2},
		{"\"user_id\":\"x\",\"user_id\":2,", TOKEN_GOOD, 2},
		{"\"user_id\":2,\"user_id\":\"x\",", TOKEN_BAD, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		struct token_claims claims = {.user_id = -7};

		snprintf(text, sizeof(text), "{%s\"topic\":\"club/1\",\"expires\":1700000000}",
			 cases[i].member);
		char *token = token_of(text);
		if (verify_bytes(token, strlen(token), TOPIC, NOW, &claims) != cases[i].verdict)
			fail_msg("%s", cases[i].member);
		if (cases[i].verdict == TOKEN_GOOD)
			assert_int_equal(claims.user_id, cases[i].user_id);
		free(token);
	}
}

static void it_is_for_one_topic(void **state)
{
	(void)state;
	static const struct {
		const char *member, *topic;
		enum token_verdict verdict;
	} cases[] = {
		{"\"topic\":\"a\"", "a", TOKEN_GOOD},
		{"\"topic\":\"\\u0061\"", "a", TOKEN_GOOD},
		{"\"topic\":\"caf\\u00e9 \\ud83d\\ude00\"", "caf\xC3\xA9 \xF0\x9F\x98\x80",
		 TOKEN_GOOD},
		{"\"topic\":\"a\\/b\"", "a/b", TOKEN_GOOD},
		{"\"topic\":\"b\"", "a", TOKEN_BAD},
		{"\"topic\":\"A\"", "a", TOKEN_BAD},
		{"\"topic\":\"ab\"", "a", TOKEN_BAD},
		{"\"topic\":\"a\"", "ab", TOKEN_BAD},
		{"\"topic\":\"a\\u0000\"", "a", TOKEN_BAD},
		{"\"topic\":\"a\\ud800\"", "a", TOKEN_BAD},
		{"\"topic\":\"\"", "a", TOKEN_BAD},
		{"\"topic\":null", "a", TOKEN_BAD},
		{"\"topic\":[\"a\"]", "a", TOKEN_BAD},
		{"\"topic\":1", "1", TOKEN_BAD},
		{"\"x\":\"a\"", "a", TOKEN_BAD},
		{"\"topic\":\"b\",\"topic\":\"a\"", "a", TOKEN_GOOD}, /* the last one counts */
		{"\"topic\":\"a\",\"topic\":\"b\"", "a", TOKEN_BAD},
		{"\"x\":{\"topic\":\"a\"}", "a", TOKEN_BAD},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		struct token_claims claims;

		snprintf(text, sizeof(text), "{\"user_id\":1,%s,\"expires\":1700000000}",
			 cases[i].member);
		char *token = token_of(text);
		if (verify_bytes(token, strlen(token), cases[i].topic, NOW, &claims) !=
		    cases[i].verdict)
			fail_msg("%s", cases[i].member);
		/* Past its expiry, one for another topic is bad and not expired. */
		assert_int_equal(
			verify_bytes(token, strlen(token), cases[i].topic, NOW + 1, &claims),
			cases[i].verdict == TOKEN_GOOD ? TOKEN_EXPIRED : TOKEN_BAD);
		free(token);
	}
}

static void claims_are_one_object_of_strict_json(void **state)
{
	(void)state;
#define CLAIMS "\"user_id\":1,\"topic\":\"club/1\",\"expires\":1700000000"
	static const char *const good[] = {
		"{" CLAIMS "}",
		" {" CLAIMS " }\n",
		"{" CLAIMS ",\"more\":[{}]}",
		"{\"\\u0065xpires\":1,\"expires\":2," CLAIMS "}",
	};
	static const char *const bad[] = {
		"",
		"{",
		"{}",
		"null",
		"[" CLAIMS "]",
		"[{" CLAIMS "}]",
		"{" CLAIMS "}}",
		"{" CLAIMS "}{}",
		"{" CLAIMS ",}",
		"{" CLAIMS ",\"x\":01}",
		"{" CLAIMS ",\"x\":\"\xFF\"}",
		"{" CLAIMS ",\"x\":\"\n\"}",
		"\xEF\xBB\xBF{" CLAIMS "}",
		"{\"user_id\":1,\"topic\":\"club/1\"}",
		"{\"user_id\":1,\"expires\":1700000000}",
		"user_id=1&topic=club/1&expires=1700000000",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (verdict_of(token_of(good[i])) != TOKEN_GOOD)
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (verdict_of(token_of(bad[i])) != TOKEN_BAD)
			fail_msg("%s", bad[i]);
	/* A NUL behind a good text is not its end. */
	char *token = token_of_bytes(SECRET, "{" CLAIMS "}\0", sizeof("{" CLAIMS "}"));
	assert_int_equal(verdict_of(token), TOKEN_BAD);
}

static void no_other_character_will_do(void **state)
{
	(void)state;
	char *token = token_of("{" CLAIMS "}");
	size_t len = strlen(token);
	struct token_claims claims;

	assert_int_equal(verify_bytes(token, len, TOPIC, NOW, &claims), TOKEN_GOOD);
	for (size_t i = 0; i < len; i++) {
		char kept = token[i];

		token[i] ^= 1; /* another digit, or no digit at all */
		assert_int_equal(verify_bytes(token, len, TOPIC, NOW, &claims), TOKEN_BAD);
		token[i] = (char)(kept ^ 0x80);
		assert_int_equal(verify_bytes(token, len, TOPIC, NOW, &claims), TOKEN_BAD);
		token[i] = '\0';
		assert_int_equal(verify_bytes(token, len, TOPIC, NOW, &claims), TOKEN_BAD);
		token[i] = kept;
		/* Cut at either end. */
		assert_int_equal(verify_bytes(token, i, TOPIC, NOW, &claims), TOKEN_BAD);
		assert_int_equal(verify_bytes(token + i + 1, len - i - 1, TOPIC, NOW, &claims),
				 TOKEN_BAD);
	}
	free(token);
}

static void hex_is_lower_case(void **state)
{
	(void)state;
	char *token = token_of("{" CLAIMS "}");
	char *signature = strchr(token, '.') + 1;

	for (char *c = signature; *c; c++)
		*c = (char)toupper(*c);
	assert_int_equal(verdict_of(token), TOKEN_BAD);
	/* Claims in upper case, and signed so. */
	assert_int_equal(verdict_of(sign(SECRET, "7B227D")), TOKEN_BAD);
	token = token_of("{" CLAIMS "}");
	*strchr(token, '.') = '\0';
	for (char *c = token; *c; c++)
		*c = (char)toupper(*c);
	char *upper = sign(SECRET, token);
	free(token);
	assert_int_equal(verdict_of(upper), TOKEN_BAD);
}

static void a_signature_does_not_make_nonsense_good(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		"", "7", "7b", "7b7d", "7b7", "zz", "7b 7d", "0x7b7d", ".", "7b7d.", ".7b7d", "{}",
	};
	static const char *const unsigned_ones[] = {
		"",
		".",
		"..",
		"x",
		"7b7d",
		"7b7d.",
		"7b7d.00",
		".0000000000000000000000000000000000000000000000000000000000000000",
		"7b7d.0000000000000000000000000000000000000000000000000000000000000000",
		"7b7d:0000000000000000000000000000000000000000000000000000000000000000",
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_int_equal(verdict_of(sign(SECRET, bodies[i])), TOKEN_BAD);
	for (size_t i = 0; i < sizeof(unsigned_ones) / sizeof(unsigned_ones[0]); i++)
		assert_int_equal(verdict_of(xstrdup(unsigned_ones[i])), TOKEN_BAD);
}

static void only_the_secret_signs(void **state)
{
	(void)state;
	static const char *const others[] = {
		"0123456789abcdef0123456789abcdeF",
		"0123456789abcdef0123456789abcde",
		"0123456789abcdef0123456789abcdef0",
		"x",
	};
	static const char text[] = "{" CLAIMS "}";
	struct token_claims claims;
	char *token;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		token = token_of_bytes(others[i], text, strlen(text));
		assert_int_equal(verdict_of(token), TOKEN_BAD);
	}
	/* Nothing is signed with no secret at all. */
	token = token_of_bytes("", text, strlen(text));
	assert_null(token_key_new(""));
	assert_int_equal(
		token_verify(NULL, token, strlen(token), TOPIC, strlen(TOPIC), NOW, &claims),
		TOKEN_BAD);
	free(token);
}

/* A good token of just `len` bytes (odd, as all are). */
static char *token_of_length(size_t len)
{
	size_t claims_len = (len - 1 - SIGNATURE_SIZE) / 2;
	char *claims = xcalloc(claims_len + 1, 1);
	char *token;

	memset(claims, ' ', claims_len);
	memcpy(claims, "{" CLAIMS "}", sizeof(CLAIMS) + 1);
	token = token_of(claims);
	assert_int_equal(strlen(token), len);
	free(claims);
	return token;
}

static void its_length_has_a_limit(void **state)
{
	(void)state;
	assert_int_equal(verdict_of(token_of_length(TOKEN_MAX_BYTES - 1)), TOKEN_GOOD);
	assert_int_equal(verdict_of(token_of_length(TOKEN_MAX_BYTES + 1)), TOKEN_BAD);
	assert_int_equal(verdict_of(token_of_length(1000001)), TOKEN_BAD);

	/* One of 4,096 bytes has half a byte of claims too many: signed, but no token. */
	char body[TOKEN_MAX_BYTES - SIGNATURE_SIZE];
	memset(body, '2', sizeof(body) - 1);
	body[sizeof(body) - 1] = '\0';
	assert_int_equal(verdict_of(sign(SECRET, body)), TOKEN_BAD);
}

static void secrets_are_equal_whole_or_not_at_all(void **state)
{
	(void)state;
	assert_true(secret_equals(SECRET, SECRET, strlen(SECRET)));
	assert_false(secret_equals(SECRET, SECRET, strlen(SECRET) - 1));
	assert_false(secret_equals(SECRET, SECRET "0", strlen(SECRET) + 1));
	assert_false(secret_equals(SECRET, SECRET "\0", strlen(SECRET) + 1));
	assert_false(secret_equals(SECRET, "0123456789abcdef0123456789abcdeF", strlen(SECRET)));
	assert_false(secret_equals(SECRET, "1123456789abcdef0123456789abcdef", strlen(SECRET)));
	assert_false(secret_equals(SECRET, "", 0));
	assert_false(secret_equals("", "", 0));
	assert_false(secret_equals("", "x", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_signature_is_that_of_rfc_4231),
		cmocka_unit_test(a_token_made_elsewhere_is_good),
		cmocka_unit_test(it_is_good_up_to_and_in_the_second_of_its_expiry),
		cmocka_unit_test(a_user_is_an_integer_or_nobody),
		cmocka_unit_test(it_is_for_one_topic),
		cmocka_unit_test(claims_are_one_object_of_strict_json),
		cmocka_unit_test(no_other_character_will_do),
		cmocka_unit_test(hex_is_lower_case),
		cmocka_unit_test(a_signature_does_not_make_nonsense_good),
		cmocka_unit_test(only_the_secret_signs),
		cmocka_unit_test(its_length_has_a_limit),
		cmocka_unit_test(secrets_are_equal_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, make_key, drop_key);
}
