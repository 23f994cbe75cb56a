/*
 * What a token with a good signature says: until when, for whom and for which topic it is good, and
 * that its claims are one object of strict JSON.
 */
#include "tests/unit/shared/contract/token_fixture.h"

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
		{"\"user_id\":9223372036854775808,", TOKEN_BAD_USER, 0},
		{"\"user_id\":\"42\",", TOKEN_BAD_USER, 0},
		{"\"user_id\":\"\",", TOKEN_BAD_USER, 0},
		{"\"user_id\":42.0,", TOKEN_BAD_USER, 0},
		{"\"user_id\":4e1,", TOKEN_BAD_USER, 0},
		{"\"user_id\":true,", TOKEN_BAD_USER, 0},
		{"\"user_id\":{},", TOKEN_BAD_USER, 0},
		{"\"user_id\":[42],", TOKEN_BAD_USER, 0},
		{"\"User_id\":42,", TOKEN_GOOD, 0},
		/* the last one counts */
		{"\"user_id\":1,\"user_id\":2,", TOKEN_GOOD, 2},
		{"\"user_id\":\"x\",\"user_id\":2,", TOKEN_GOOD, 2},
		{"\"user_id\":2,\"user_id\":\"x\",", TOKEN_BAD_USER, 0},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_good_up_to_and_in_the_second_of_its_expiry),
		cmocka_unit_test(a_user_is_an_integer_or_nobody),
		cmocka_unit_test(it_is_for_one_topic),
		cmocka_unit_test(claims_are_one_object_of_strict_json),
	};

	return cmocka_run_group_tests(tests, make_key, drop_key);
}
