/*
 * Tokens as such: their signature, their form and their length, and every kind of broken token. Our
 * own way to sign them is held against RFC 4231 first. What they say is in test_token_claims.c.
 */
#include "tests/unit/shared/contract/token_fixture.h"

#include <ctype.h>

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
		cmocka_unit_test(no_other_character_will_do),
		cmocka_unit_test(hex_is_lower_case),
		cmocka_unit_test(a_signature_does_not_make_nonsense_good),
		cmocka_unit_test(only_the_secret_signs),
		cmocka_unit_test(its_length_has_a_limit),
		cmocka_unit_test(secrets_are_equal_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, make_key, drop_key);
}
