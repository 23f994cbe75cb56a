// needs: api/command.c
/*
 * POST bodies as commands: each case is a body and the error text it gets, NULL when it is good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/command.h"

struct body_case {
	const char *body;
	const char *fault; /* NULL: good */
};

static struct command command;
static char fault[COMMAND_FAULT_SIZE];

static bool read_text(enum command_kind kind, const char *body)
{
	return command_read(kind, body, strlen(body), &command, fault);
}

static void check(enum command_kind kind, const struct body_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		bool good = read_text(kind, cases[i].body);

		if (good != !cases[i].fault)
			print_error("%s: %s\n", cases[i].body, good ? "taken" : fault);
		assert_int_equal(good, !cases[i].fault);
		if (cases[i].fault)
			assert_string_equal(fault, cases[i].fault);
	}
}

#define CHECK(kind, cases) check((kind), (cases), sizeof(cases) / sizeof((cases)[0]))

static void what_is_wrong_with_a_body_is_said(void **state)
{
	(void)state;
	static const struct body_case cases[] = {
		{"{\"payload\":1}", "missing topic"},
		{"{\"topic\":null,\"payload\":1}", "missing topic"},
		{"{\"topic\":7,\"payload\":1}", "bad topic: not a string"},
		{"{\"topic\":\"\",\"payload\":1}", "bad topic: empty"},
		{"{\"topic\":\"a\\u0000b\",\"payload\":1}", "bad topic: control character"},
		{"{\"topic\":\"a\\nb\",\"payload\":1}", "bad topic: control character"},
		{"{\"topic\":\"\\ud800\",\"payload\":1}", "bad topic: not valid UTF-8"},
		{"{\"topic\":\"a\"}", "missing payload"},
		{"{\"payload\":1,\"topic\":\"a\",\"more\":[{}]}", NULL},
		{"{\"topic\":\"a\",\"payload\":null}", NULL},
		{"{\"topic\":\"a\",\"payload\":1,\"meta\":5,\"require_token\":\"x\"}", NULL},
	};

	CHECK(COMMAND_PUBLISH, cases);
}

static void a_body_that_is_not_one_object_is_refused_with_its_place(void **state)
{
	(void)state;
	static const char *const bodies[] = {"",
					     "[]",
					     "null",
					     "{\"topic\":\"a\",\"payload\":1}x",
					     "{\"topic\":\"a\",\"payload\":01}",
					     "{\"topic\":\"a\",\"payload\":1,}",
					     "{'topic':'a','payload':1}",
					     "{\"topic\":\"a\",\"payload\":NaN}",
					     "{\"topic\":\"\xff\",\"payload\":1}"};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		assert_false(read_text(COMMAND_PUBLISH, bodies[i]));
		assert_memory_equal(fault, "bad request: ", 13);
		assert_non_null(strstr(fault, " at byte "));
	}
}

static void a_topic_may_have_255_bytes_however_they_are_escaped(void **state)
{
	(void)state;
	char body[4096];

	for (size_t len = 254; len <= 257; len++) {
		size_t at = (size_t)snprintf(body, sizeof(body), "{\"topic\":\"");

		for (size_t i = 0; i < len; i++)
			at += (size_t)snprintf(body + at, sizeof(body) - at, "\\u0041");
		snprintf(body + at, sizeof(body) - at, "\"}");
		assert_int_equal(read_text(COMMAND_UNREGISTER, body), len <= 255);
		if (len <= 255)
			assert_int_equal(command.topic_len, len);
		else
			assert_string_equal(fault, "bad topic: longer than 255 bytes");
	}
}

static void a_payload_is_the_bytes_of_the_body(void **state)
{
	(void)state;
	static const char *const payloads[] = {"1.10", "123456789012345678901234567890",
					       "{ \"a\" : \"\\u2028\\/\" }", "\"\\ud800\"", "null"};
	char body[256];

	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		snprintf(body, sizeof(body), "{\"payload\": %s ,\"topic\":\"t\"}", payloads[i]);
		assert_true(read_text(COMMAND_PUBLISH, body));
		assert_ptr_equal(command.payload.at, body + strlen("{\"payload\": "));
		assert_int_equal(command.payload.len, strlen(payloads[i]));
	}
}

static void require_token_is_taken_from_either_place(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		bool require_token;
	} cases[] = {
		{"{\"topic\":\"a\"}", false},
		{"{\"topic\":\"a\",\"meta\":null,\"require_token\":null}", false},
		{"{\"topic\":\"a\",\"meta\":{}}", false},
		{"{\"topic\":\"a\",\"meta\":{\"require_token\":true}}", true},
		{"{\"topic\":\"a\",\"meta\":{\"require_token\":false}}", false},
		{"{\"topic\":\"a\",\"require_token\":true}", true},
		{"{\"topic\":\"a\",\"require_token\":true,\"meta\":{\"x\":1}}", true},
		{"{\"topic\":\"a\",\"require_token\":null,\"meta\":{\"require_token\":true}}",
		 true},
		{"{\"topic\":\"a\",\"require_token\":true,\"meta\":{\"require_token\":null}}",
		 true},
		{"{\"topic\":\"a\",\"require_token\":true,\"meta\":{\"require_token\":true}}",
		 true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(read_text(COMMAND_REGISTER, cases[i].body));
		assert_int_equal(command.require_token, cases[i].require_token);
	}
}

static void a_wrong_require_token_is_refused(void **state)
{
	(void)state;
	static const struct body_case cases[] = {
		{"{\"topic\":\"a\",\"meta\":[]}", "bad request: meta is not an object"},
		{"{\"topic\":\"a\",\"meta\":true}", "bad request: meta is not an object"},
		{"{\"topic\":\"a\",\"meta\":{\"require_token\":1}}",
		 "bad request: meta.require_token is not a boolean"},
		{"{\"topic\":\"a\",\"require_token\":\"true\"}",
		 "bad request: require_token is not a boolean"},
		{"{\"topic\":\"a\",\"require_token\":true,\"meta\":{\"require_token\":false}}",
		 "bad request: require_token and meta.require_token differ"},
		{"{\"topic\":\"a\",\"require_token\":false,\"meta\":{\"require_token\":true}}",
		 "bad request: require_token and meta.require_token differ"},
		{"{\"meta\":[]}", "missing topic"},
	};

	CHECK(COMMAND_REGISTER, cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_with_a_body_is_said),
		cmocka_unit_test(a_body_that_is_not_one_object_is_refused_with_its_place),
		cmocka_unit_test(a_topic_may_have_255_bytes_however_they_are_escaped),
		cmocka_unit_test(a_payload_is_the_bytes_of_the_body),
		cmocka_unit_test(require_token_is_taken_from_either_place),
		cmocka_unit_test(a_wrong_require_token_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
