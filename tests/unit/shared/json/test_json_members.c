/*
 * The members of a JSON object, as slices of its text. Every text is copied to memory of just its
 * length, so that the build with sanitizers finds a byte read too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/json/json.h"

/* The members `names` of `text`, which must be good; the caller frees *copy after use. */
static void read_members(const char *text, struct json_member *members, size_t count, char **copy)
{
	size_t len = strlen(text), error_at;

	*copy = xreallocarray(NULL, len, 1);
	memcpy(*copy, text, len);
	assert_null(json_object_members(*copy, len, members, count, &error_at));
}

static void assert_slice(struct json_value value, enum json_kind kind, const char *bytes)
{
	assert_int_equal(value.kind, kind);
	assert_int_equal(value.len, strlen(bytes));
	assert_memory_equal(value.at, bytes, value.len);
}

static void a_member_is_the_bytes_as_they_stand(void **state)
{
	(void)state;
	static const struct {
		const char *text, *slice;
		enum json_kind kind;
	} cases[] = {
		{"{\"p\":1.10}", "1.10", JSON_NUMBER},
		{"{\"p\" : 12345678901234567890123 }", "12345678901234567890123", JSON_NUMBER},
		{"{\"p\":\"\\u2028\\/ \xE2\x80\xA8\"}", "\"\\u2028\\/ \xE2\x80\xA8\"", JSON_STRING},
		{"{\"p\":\"a}],\\\"b\",\"q\":0}", "\"a}],\\\"b\"", JSON_STRING},
		{"{\"p\": [ 1 ,\n\t{} ] }", "[ 1 ,\n\t{} ]", JSON_ARRAY},
		{"{\"p\":{ \"p\" : {\"p\":1} } }", "{ \"p\" : {\"p\":1} }", JSON_OBJECT},
		{"{\"p\":{}}", "{}", JSON_OBJECT},
		{"{\"p\":[]}", "[]", JSON_ARRAY},
		{"{\"p\":true,\"x\":false}", "true", JSON_TRUE},
		{"{\"x\":true,\"p\":false}", "false", JSON_FALSE},
		{" { \"p\" :\r\nnull\r\n} ", "null", JSON_NULL},
		{"{\"p\":-0e-0}", "-0e-0", JSON_NUMBER},
		/* of members given twice the last one counts */
		{"{\"p\":1,\"p\":[2]}", "[2]", JSON_ARRAY},
		{"{\"p\":{\"a\":1},\"x\":0,\"p\":null}", "null", JSON_NULL},
		/* however the name is escaped */
		{"{\"\\u0070\":3}", "3", JSON_NUMBER},
		{"{\"p\":3,\"\\u0070\":4}", "4", JSON_NUMBER},
		/* members of members are not members */
		{"{\"x\":{\"p\":1},\"p\":2,\"y\":[{\"p\":3}]}", "2", JSON_NUMBER},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_member member = {.name = "p"};
		char *copy;

		read_members(cases[i].text, &member, 1, &copy);
		assert_slice(member.value, cases[i].kind, cases[i].slice);
		assert_true(member.value.at > copy);
		free(copy);
	}
}

static void a_member_that_is_not_there_is_absent(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"{}",
		"{\"P\":1}",
		"{\"pp\":1}",
		"{\"\":1}",
		"{\"p \":1}",
		"{\"p\\u0000\":1}",
		"{\"x\":\"p\"}",
		"{\"x\":{\"p\":1}}",
		"{\"x\":[\"p\",{\"p\":1}]}",
		"{\"\\ud800\":1}",
		"{\"p\\ud800\":1}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		/* Left over from another text. */
		struct json_member member = {.name = "p", .value = {JSON_TRUE, "true", 4}};
		char *copy;

		read_members(texts[i], &member, 1, &copy);
		assert_int_equal(member.value.kind, JSON_ABSENT);
		free(copy);
	}
}

static void many_members_are_found_in_any_order(void **state)
{
	(void)state;
	struct json_member members[] = {{.name = "topic"}, {.name = "payload"}, {.name = "meta"}};
	char *copy;

	read_members("{\"meta\":{},\"other\":[],\"payload\":\"x\",\"\\u0074opic\":\"t\"}", members,
		     3, &copy);
	assert_slice(members[0].value, JSON_STRING, "\"t\"");
	assert_slice(members[1].value, JSON_STRING, "\"x\"");
	assert_slice(members[2].value, JSON_OBJECT, "{}");
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_is_the_bytes_as_they_stand),
		cmocka_unit_test(a_member_that_is_not_there_is_absent),
		cmocka_unit_test(many_members_are_found_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
