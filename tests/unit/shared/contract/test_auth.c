/*
 * Whether an auth frame opens a topic: what it must have, which secrets count, and what is answered
 * otherwise. What a token may be is in test_token.c, what a frame may be in test_message_auth.c.
 */
#include "tests/unit/shared/contract/token_fixture.h"

#include "shared/contract/auth.h"

#define PREVIOUS_SECRET "fedcba9876543210fedcba9876543210"
#define STRANGE_SECRET "00000000000000000000000000000000"

static struct auth_keys keys;
static struct token_claims claims;

/* A frame with that token, which has an expiry of 1 or far away; "" and NULL for none. */
static struct message frame(const char *secret, const char *topic, const char *expires)
{
	char text[256], body[512];
	struct message message;

	snprintf(text, sizeof(text), "{\"user_id\":7,\"topic\":\"%s\",\"expires\":%s}", topic,
		 expires);
	char *token = token_of_bytes(secret, text, strlen(text));
	snprintf(body, sizeof(body), "{\"type\":\"auth\",\"token\":\"%s\"}", token);
	message_parse(body, strlen(body), &message);
	free(token);
	return message;
}

static enum auth_verdict judge(const struct message *message, bool needs_token)
{
	claims = (struct token_claims){1, 2};
	return auth_judge(&keys, message, TOPIC, strlen(TOPIC), needs_token, &claims);
}

static enum auth_verdict judge_text(const char *text, bool needs_token)
{
	struct message message;

	message_parse(text, strlen(text), &message);
	return judge(&message, needs_token);
}

static int set_keys(void **state)
{
	(void)state;
	return auth_keys_set(&keys, SECRET, PREVIOUS_SECRET) ? 0 : -1;
}

static int clear_keys(void **state)
{
	(void)state;
	auth_keys_clear(&keys);
	auth_keys_clear(&keys);
	return 0;
}

#define FOREVER "9007199254740993"

static void a_token_by_either_secret_opens_its_topic(void **state)
{
	static const struct {
		const char *secret, *topic, *expires;
		enum auth_verdict verdict;
	} cases[] = {
		{SECRET, TOPIC, FOREVER, AUTH_GOOD},
		{PREVIOUS_SECRET, TOPIC, FOREVER, AUTH_GOOD},
		{STRANGE_SECRET, TOPIC, FOREVER, AUTH_UNAUTHORIZED},
		{SECRET, TOPIC "x", FOREVER, AUTH_UNAUTHORIZED},
		{SECRET, TOPIC, "1", AUTH_EXPIRED},
		{PREVIOUS_SECRET, TOPIC, "1", AUTH_EXPIRED},
		{STRANGE_SECRET, TOPIC, "1", AUTH_UNAUTHORIZED},
		{SECRET, TOPIC, "\"" FOREVER "\"", AUTH_UNAUTHORIZED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct message message = frame(cases[i].secret, cases[i].topic, cases[i].expires);

		assert_int_equal(judge(&message, true), cases[i].verdict);
		if (cases[i].verdict == AUTH_GOOD)
			assert_int_equal(claims.user_id, 7);
		assert_int_equal(judge(&message, false), AUTH_GOOD); /* nobody looks at it */
		assert_int_equal(claims.user_id, 1);
	}
}

static void what_is_no_auth_frame_is_told_so_whatever_the_topic(void **state)
{
	static const struct {
		const char *text;
		enum auth_verdict open, closed;
	} cases[] = {
		{"", AUTH_REQUIRED, AUTH_REQUIRED},
		{"[]", AUTH_REQUIRED, AUTH_REQUIRED},
		{"{}", AUTH_REQUIRED, AUTH_REQUIRED},
		{"{\"type\":\"status\",\"token\":\"x\"}", AUTH_REQUIRED, AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":1}", AUTH_REQUIRED, AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":\"x\",\"last_event_id\":-1}", AUTH_REQUIRED,
		 AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":\"x\",\"last_event_id\":\"1\"}", AUTH_REQUIRED,
		 AUTH_REQUIRED},
		{"{\"type\":\"auth\"}", AUTH_GOOD, AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":\"\"}", AUTH_GOOD, AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":null,\"last_event_id\":1}", AUTH_GOOD,
		 AUTH_REQUIRED},
		{"{\"type\":\"auth\",\"token\":\"x\"}", AUTH_GOOD, AUTH_UNAUTHORIZED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (judge_text(cases[i].text, false) != cases[i].open ||
		    judge_text(cases[i].text, true) != cases[i].closed)
			fail_msg("%s", cases[i].text);
	}
}

static void without_keys_no_token_is_good(void **state)
{
	struct message message = frame(SECRET, TOPIC, FOREVER);

	(void)state;
	assert_true(auth_keys_set(&keys, SECRET, ""));
	assert_int_equal(judge(&message, true), AUTH_GOOD);
	message = frame(PREVIOUS_SECRET, TOPIC, FOREVER);
	assert_int_equal(judge(&message, true), AUTH_UNAUTHORIZED);
	auth_keys_clear(&keys);
	message = frame(SECRET, TOPIC, FOREVER);
	assert_int_equal(judge(&message, true), AUTH_UNAUTHORIZED);
	assert_int_equal(judge(&message, false), AUTH_GOOD);
}

static void each_refusal_has_its_frame_and_its_status(void **state)
{
	(void)state;
	assert_int_equal(auth_error(AUTH_REQUIRED).status, 400);
	assert_string_equal(auth_error(AUTH_REQUIRED).frame, MESSAGE_AUTH_REQUIRED);
	assert_int_equal(auth_error(AUTH_UNAUTHORIZED).status, 401);
	assert_string_equal(auth_error(AUTH_UNAUTHORIZED).frame, MESSAGE_UNAUTHORIZED);
	assert_int_equal(auth_error(AUTH_EXPIRED).status, 401);
	assert_string_equal(auth_error(AUTH_EXPIRED).frame, MESSAGE_AUTH_EXPIRED);
}

#define AUTH_TEST(test) cmocka_unit_test_setup_teardown(test, set_keys, clear_keys)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AUTH_TEST(a_token_by_either_secret_opens_its_topic),
		AUTH_TEST(what_is_no_auth_frame_is_told_so_whatever_the_topic),
		AUTH_TEST(without_keys_no_token_is_good),
		AUTH_TEST(each_refusal_has_its_frame_and_its_status),
	};

	return cmocka_run_group_tests(tests, make_key, drop_key);
}
