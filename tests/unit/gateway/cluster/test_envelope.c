// needs: gateway/cluster/envelope.c
/*
 * What comes from other nodes, read: good messages and entries, and tables of hostile ones. Each is
 * copied to memory of just its length, so that the build with sanitizers finds a byte read too
 * many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/cluster/envelope.h"
#include "shared/base/alloc.h"

#define NODE "0123456789abcdef"
#define HEAD "{\"origin_id\":\"" NODE "\",\"topic\":\"t\",\"payload\":"

static struct envelope envelope;
static char *message; /* what the payload points into */

static enum envelope_fault read_bytes(const char *bytes, size_t len)
{
	free(message);
	message = xreallocarray(NULL, len + !len, 1);
	memcpy(message, bytes, len);
	memset(&envelope, 0xA5, sizeof(envelope));
	return envelope_read((struct slice){message, len}, &envelope);
}

static enum envelope_fault read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

static void expect(const char *text, const char *topic, const char *payload)
{
	if (read_text(text) != ENVELOPE_GOOD)
		fail_msg("refused: %s", text);
	assert_string_equal(envelope.origin, NODE);
	assert_int_equal(envelope.topic_len, strlen(topic));
	assert_memory_equal(envelope.topic, topic, envelope.topic_len);
	if (!slice_equals(envelope.payload, payload))
		fail_msg("%s instead of %s", envelope.payload.at, payload);
}

static void a_message_is_read_and_its_payload_keeps_its_bytes(void **state)
{
	(void)state;
	expect(HEAD "{\"a\": 1.0e2,\"b\":\"\\u003c\"}}", "t", "{\"a\": 1.0e2,\"b\":\"\\u003c\"}");
	expect(" { \"payload\" : [ 1 ] , \"topic\" : \"\\u0074\\\"\\\\\" , \"origin_id\" : "
	       "\"\\u003012345678"
	       "9abcdef\" } ",
	       "t\"\\", "[ 1 ]");
	expect(HEAD "\"\\ud800\"}", "t", "\"\\ud800\"");
	expect("{\"origin_id\":\"" NODE "\",\"topic\":\"\xC3\xA4\"}", "\xC3\xA4", "null");
}

static void names_are_matched_in_any_case_and_the_last_of_each_counts(void **state)
{
	(void)state;
	expect("{\"ORIGIN_ID\":\"" NODE "\",\"Topic\":\"t\",\"pAYLOAD\":5}", "t", "5");
	expect("{\"topic\":\"a\",\"payload\":1,\"origin_id\":7,\"Payload\":2,\"ORIGIN_ID\":\"" NODE
	       "\",\"TOPIC\":\"b\"}",
	       "b", "2");
	expect("{\"payload\":{\"topic\":\"x\",\"origin_id\":0},\"topic\":\"a\",\"origin_id\":"
	       "\"" NODE "\",\"more\":[{}],\"topics\":1,\"topi\":2}",
	       "a", "{\"topic\":\"x\",\"origin_id\":0}");
}

struct refused {
	enum envelope_fault fault;
	const char *text;
};

static const char *name_of(enum envelope_fault fault)
{
	return fault == ENVELOPE_GOOD ? "good" : counter_names[envelope_counter(fault)].label;
}

static void hostile_messages_are_refused(void **state)
{
	static const struct refused all[] = {
		{ENVELOPE_NOT_JSON, ""},
		{ENVELOPE_NOT_JSON, "hello"},
		{ENVELOPE_NOT_JSON, "null"},
		{ENVELOPE_NOT_JSON, "[" HEAD "1}]"},
		{ENVELOPE_NOT_JSON, HEAD "1}{}"},
		{ENVELOPE_NOT_JSON, HEAD "1"},
		{ENVELOPE_NOT_JSON, HEAD "}"},
		{ENVELOPE_NOT_JSON, HEAD "nul}"},
		{ENVELOPE_NOT_UTF8, HEAD "\"\xFF\"}"},
		{ENVELOPE_NOT_JSON, HEAD "\"\n\"}"},
		{ENVELOPE_NOT_JSON, "\xEF\xBB\xBF" HEAD "1}"},
		{ENVELOPE_NOT_UTF8, HEAD "1,\"more\":\"\xED\xA0\x80\"}"},
		{ENVELOPE_MALFORMED, "{}"},
		{ENVELOPE_MALFORMED, "{\"topic\":\"t\",\"payload\":1}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":null}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":[\"" NODE "\"]}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":\"0123456789abcde\"}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":\"0123456789abcdef0\"}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":\"0123456789ABCDEF\"}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"origin_id\":\"0123456789abcde\\u0000\"}"},
		{ENVELOPE_MALFORMED, HEAD "1,\"Origin_ID\":\"\"}"},
		{ENVELOPE_BAD_TOPIC, "{\"origin_id\":\"" NODE "\",\"payload\":1}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":null}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":5}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":{\"topic\":\"t\"}}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":\"\"}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":\"a\\nb\"}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":\"\\u0000\"}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":\"\x7F\"}"},
		{ENVELOPE_BAD_TOPIC, HEAD "1,\"topic\":\"\\ud800\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (read_text(all[i].text) != all[i].fault)
			fail_msg("not %s: %s", name_of(all[i].fault), all[i].text);
	assert_int_equal(read_bytes(HEAD "1}\0", sizeof(HEAD "1}\0") - 1), ENVELOPE_NOT_JSON);
}

/* A message with `count` times `piece` between `before` and `after`. */
static enum envelope_fault read_long(const char *before, char piece, size_t count,
				     const char *after)
{
	size_t before_len = strlen(before), after_len = strlen(after);
	char *text = xreallocarray(NULL, before_len + count + after_len, 1);
	enum envelope_fault fault;

	memcpy(text, before, before_len);
	memset(text + before_len, piece, count);
	memcpy(text + before_len + count, after, after_len);
	fault = read_bytes(text, before_len + count + after_len);
	free(text);
	return fault;
}

static void everything_has_a_longest_form(void **state)
{
	const char topic[] = "{\"payload\":1,\"origin_id\":\"" NODE "\",\"topic\":\"";

	(void)state;
	assert_int_equal(read_long(HEAD "\"", 'x', ENVELOPE_PAYLOAD_MAX - 2, "\"}"), ENVELOPE_GOOD);
	assert_int_equal(envelope.payload.len, ENVELOPE_PAYLOAD_MAX);
	assert_int_equal(read_long(HEAD "\"", 'x', ENVELOPE_PAYLOAD_MAX - 1, "\"}"),
			 ENVELOPE_TOO_BIG);
	assert_int_equal(read_long(HEAD "\"", 'x', 2 * ENVELOPE_PAYLOAD_MAX, "\"}"),
			 ENVELOPE_TOO_BIG);
	assert_int_equal(read_long(HEAD "1", ' ', ENVELOPE_MAX_BYTES, "}"), ENVELOPE_TOO_BIG);
	assert_int_equal(read_long(topic, 'x', TOPIC_MAX_BYTES, "\"}"), ENVELOPE_GOOD);
	assert_int_equal(read_long(topic, 'x', TOPIC_MAX_BYTES + 1, "\"}"), ENVELOPE_BAD_TOPIC);
	assert_int_equal(read_long(HEAD, '[', 100000, ""), ENVELOPE_NOT_JSON);
	assert_int_equal(read_long(HEAD, '[', 1100, "1]}"), ENVELOPE_NOT_JSON);
}

static void what_is_written_is_read_the_same(void **state)
{
	static const char *const topics[] = {"t", "a\"b\\c/", "\xC3\xA4\xE2\x80\xA8", "\"\"\"\"",
					     "\xF0\x9F\x98\x80 <&>"};
	char text[ENVELOPE_HEAD_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		size_t len = envelope_write_head(text, NODE,
						 (struct slice){topics[i], strlen(topics[i])});

		assert_int_equal(len, strlen(text));
		memcpy(text + len, "[1]}", sizeof("[1]}"));
		expect(text, topics[i], "[1]");
	}
	envelope_write_head(text, NODE, (struct slice){"a\"b", 3});
	assert_string_equal(text, "{\"origin_id\":\"" NODE "\",\"topic\":\"a\\\"b\",\"payload\":");
}

static void the_value_of_a_topics_key_is_read_as_the_existing_nodes_do(void **state)
{
	static const struct {
		enum envelope_fault fault;
		bool require_token;
		const char *text;
	} values[] = {
		{ENVELOPE_GOOD, true, "{\"require_token\":true}"},
		{ENVELOPE_GOOD, false, "{\"require_token\":false}"},
		{ENVELOPE_GOOD, true, " { \"more\" : [ 1 ] , \"REQUIRE_Token\" : true } "},
		{ENVELOPE_GOOD, false, "{\"require_token\":true,\"require_token\":false}"},
		{ENVELOPE_GOOD, false, "{\"require_token\":null}"},
		{ENVELOPE_GOOD, false, "{}"},
		{ENVELOPE_GOOD, false, "\nnull\n"},
		{ENVELOPE_MALFORMED, false, "[]"},
		{ENVELOPE_MALFORMED, false, "true"},
		{ENVELOPE_MALFORMED, false, "\"null\""},
		{ENVELOPE_MALFORMED, false, "{\"require_token\":1}"},
		{ENVELOPE_MALFORMED, false, "{\"require_token\":\"true\"}"},
		{ENVELOPE_NOT_JSON, false, ""},
		{ENVELOPE_NOT_JSON, false, "yes"},
		{ENVELOPE_NOT_JSON, false, "null null"},
		{ENVELOPE_NOT_UTF8, false, "{\"a\":\"\xFF\"}"},
	};
	static char huge[TOPIC_VALUE_MAX + 1];
	bool require_token;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct slice value = {values[i].text, strlen(values[i].text)};

		if (topic_value_read(value, &require_token) != values[i].fault ||
		    (!values[i].fault && require_token != values[i].require_token))
			fail_msg("%s", values[i].text);
	}
	memset(huge, ' ', sizeof(huge));
	memcpy(huge, "{}", 2);
	assert_int_equal(topic_value_read((struct slice){huge, sizeof(huge) - 1}, &require_token),
			 ENVELOPE_GOOD);
	assert_int_equal(topic_value_read((struct slice){huge, sizeof(huge)}, &require_token),
			 ENVELOPE_TOO_BIG);
	for (int i = 0; i < 2; i++) {
		const char *value = topic_value(i == 1);

		assert_int_equal(
			topic_value_read((struct slice){value, strlen(value)}, &require_token),
			ENVELOPE_GOOD);
		assert_int_equal(require_token, i == 1);
	}
}

enum { FIELDS_MAX = 24 };

static struct log_entry entry;

/* Fields are separated by '|'. */
static enum envelope_fault read_entry(const char *text)
{
	struct slice fields[FIELDS_MAX], rest = {text, strlen(text)};
	size_t count = 0;

	while (rest.at)
		fields[count++] = slice_split(rest, '|', &rest);
	memset(&entry, 0xA5, sizeof(entry));
	return log_entry_read(fields, count, &entry);
}

#define ENTRY "origin|" NODE "|id|7|prev|5|created|1700000000000|"

static void an_entry_is_read_whatever_the_order_of_its_fields(void **state)
{
	(void)state;
	assert_int_equal(read_entry(ENTRY "kind|push|topic|a b|payload|{\"x\": 1}"), ENVELOPE_GOOD);
	assert_string_equal(entry.origin, NODE);
	assert_int_equal(entry.id, 7);
	assert_int_equal(entry.prev, 5);
	assert_int_equal(entry.kind, EVENT_PUSH);
	assert_int_equal(entry.created_ms, 1700000000000);
	assert_true(slice_equals(entry.topic, "a b") && slice_equals(entry.payload, "{\"x\": 1}"));
	assert_false(entry.has_user);

	assert_int_equal(read_entry("new|1|payload|3|topic|x|topic|t|kind|push|created|0|prev|0|id|"
				    "9007199254740991|origin|" NODE "|old|"),
			 ENVELOPE_GOOD);
	assert_int_equal(entry.id, 9007199254740991);
	assert_true(slice_equals(entry.topic, "t") && slice_equals(entry.payload, "3"));

	assert_int_equal(read_entry(ENTRY "kind|unregister|topic|t"), ENVELOPE_GOOD);
	assert_int_equal(entry.kind, EVENT_UNREGISTER);
	assert_int_equal(read_entry(ENTRY "kind|disconnect|topic|t"), ENVELOPE_GOOD);
	assert_false(entry.has_user);
	assert_int_equal(read_entry(ENTRY "kind|disconnect|user|-5"), ENVELOPE_GOOD);
	assert_int_equal(entry.kind, EVENT_DISCONNECT);
	assert_true(entry.has_user && entry.user == -5 && !entry.topic.at);
}

static const struct refused entries[] = {
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|odd"},
	{ENVELOPE_MALFORMED, "some|thing"},
	{ENVELOPE_MALFORMED, "id|7|prev|5|created|1|kind|push|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "origin||kind|push|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "origin|" NODE "0|kind|push|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "origin|0123456789abcdeF|kind|push|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "kind||topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "kind|Push|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "kind|pushed|topic|t|payload|1"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|0|prev|0"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|-7"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|+7"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id| 7"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|07"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|7.0"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|0x7"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|9007199254740992"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|id|99999999999999999999"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|prev|7"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|prev|-1"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|prev|-0"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|created|yesterday"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|created|-1"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t|payload|1|user|5"},
	{ENVELOPE_MALFORMED, ENTRY "kind|disconnect|user|"},
	{ENVELOPE_MALFORMED, ENTRY "kind|disconnect|user|9223372036854775808"},
	{ENVELOPE_MALFORMED, ENTRY "kind|disconnect|user|root"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|disconnect"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|disconnect|user|5|topic|"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|push|payload|1"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|push|payload|1|topic|"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|push|payload|1|topic|a\nb"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|push|payload|1|topic|\xFF"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|unregister"},
	{ENVELOPE_BAD_TOPIC, ENTRY "kind|unregister|topic|worker.status"},
	{ENVELOPE_MALFORMED, ENTRY "kind|push|topic|t"},
	{ENVELOPE_NOT_JSON, ENTRY "kind|push|topic|t|payload|"},
	{ENVELOPE_NOT_JSON, ENTRY "kind|push|topic|t|payload|{"},
	{ENVELOPE_NOT_JSON, ENTRY "kind|push|topic|t|payload|1 2"},
	{ENVELOPE_NOT_UTF8, ENTRY "kind|push|topic|t|payload|\"\xC0\x80\""},
	{ENVELOPE_NOT_JSON, ENTRY "kind|push|topic|t|payload|hello"},
};

static void hostile_entries_are_refused(void **state)
{
	static char payload[ENVELOPE_PAYLOAD_MAX + 1];
	struct slice fields[] = {{"origin", 6},	 {NODE, 16},
				 {"id", 2},	 {"1", 1},
				 {"prev", 4},	 {"0", 1},
				 {"created", 7}, {"1", 1},
				 {"kind", 4},	 {"push", 4},
				 {"topic", 5},	 {"t", 1},
				 {"payload", 7}, {payload, ENVELOPE_PAYLOAD_MAX}};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		if (read_entry(entries[i].text) != entries[i].fault)
			fail_msg("not %s: %s", name_of(entries[i].fault), entries[i].text);
	assert_int_equal(log_entry_read(NULL, 0, &entry), ENVELOPE_MALFORMED);
	memset(payload, '7', sizeof(payload));
	assert_int_equal(log_entry_read(fields, 14, &entry), ENVELOPE_GOOD);
	fields[13].len++;
	assert_int_equal(log_entry_read(fields, 14, &entry), ENVELOPE_TOO_BIG);
	fields[11] = (struct slice){"a\0b", 3};
	assert_int_equal(log_entry_read(fields, 14, &entry), ENVELOPE_BAD_TOPIC);
	fields[3] = (struct slice){"1\0", 2};
	assert_int_equal(log_entry_read(fields, 14, &entry), ENVELOPE_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_read_and_its_payload_keeps_its_bytes),
		cmocka_unit_test(names_are_matched_in_any_case_and_the_last_of_each_counts),
		cmocka_unit_test(hostile_messages_are_refused),
		cmocka_unit_test(everything_has_a_longest_form),
		cmocka_unit_test(what_is_written_is_read_the_same),
		cmocka_unit_test(the_value_of_a_topics_key_is_read_as_the_existing_nodes_do),
		cmocka_unit_test(an_entry_is_read_whatever_the_order_of_its_fields),
		cmocka_unit_test(hostile_entries_are_refused),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(message);
	return failed;
}
