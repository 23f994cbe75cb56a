/*
 * Positions of a cluster: what is one, how they are written, and what a client has had that has
 * one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shared/contract/position.h"
#include "tests/unit/numbers.h"

enum { HERE = 1, A, B, C };

static struct position position;
static char text[POSITION_TEXT_SIZE];

/* Reads memory of just that size. */
static bool is_position(const char *said, size_t len)
{
	char *copy = malloc(len + !len);
	bool is_one;

	assert_non_null(copy);
	memcpy(copy, said, len);
	is_one = position_parse(copy, len, &position);
	free(copy);
	return is_one;
}

static const char *written(const struct position *of)
{
	size_t len = position_write(of, text);

	assert_int_equal(len, strlen(text));
	return text;
}

static struct position parsed(const char *said)
{
	if (!is_position(said, strlen(said)))
		fail_msg("%s is no position", said);
	return position;
}

static void a_position_is_written_as_it_was_read(void **state)
{
	static const char *const texts[] = {
		"1-0-0",
		"1-1-1",
		"zz-10-z.a-1.b-zz",
		"1-1-0.2-1",
		"3w5e11264sgsf-1y2p0ij32e8e7-1y2p0ij32e8e7.2-1y2p0ij32e8e7",
	};
	char quoted[POSITION_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		parsed(texts[i]);
		snprintf(quoted, sizeof(quoted), "\"%s\"", texts[i]);
		assert_string_equal(written(&position), quoted);
	}
	assert_string_equal(written(number_position(0)), "0");
	assert_string_equal(written(number_position(INT64_MAX)), "9223372036854775807");
}

static void the_longest_position_fits(void **state)
{
	struct position longest = {.node = UINT64_MAX, .id = INT64_MAX, .own = INT64_MAX};

	(void)state;
	for (unsigned i = 0; i < POSITION_NODES + 3; i++) /* the last ones find no room */
		position_set(&longest, UINT64_MAX - 1 - i, INT64_MAX);
	assert_int_equal(strlen(written(&longest)), POSITION_TEXT_SIZE - 1);
	assert_true(is_position(text + 1, strlen(text) - 2));
	assert_memory_equal(&position, &longest, sizeof(longest));
}

static void anything_else_is_no_position(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"1-",
		"1-1",
		"1-1-",
		"-1-1",
		"1--1",
		"1-1-1-",
		"1-1-1-1",
		"1-1-1.",
		"1-1-1.2",
		"1-1-1.2-",
		"1-1-1.2-1.",
		"1-1-1..2-1",
		".1-1-1",
		"1-1-1.2-1-1",
		"0-1-1",
		"1-1-1.0-1", /* node 0 */
		"1-1-1.2-0", /* of which it has had nothing */
		"1-1-1.1-1",
		"1-1-0.1-1",
		"1-1-1.2-1.2-1",
		"1-1-1.2-1.3-1.2-2", /* one twice */
		"01-1-1",
		"1-01-1",
		"1-1-00",
		"1-1-1.02-1", /* what is written in two ways */
		"A-1-1",
		" 1-1-1",
		"1-1-1 ",
		"1-1-1\n",
		"+1-1-1",
		"1-1-0x1",
		"1_1_1",
		"\xC3\xA9-1-1",
		"3w5e11264sgsg-1-1",
		"1-1y2p0ij32e8e8-1",
		"1-1-1y2p0ij32e8e8",
		"1-1-1.2-1y2p0ij32e8e8",
		"zzzzzzzzzzzzzz-1-1",
		"1-zzzzzzzzzzzzz-1", /* too much */
	};
	char many[4096] = "1-1-1";

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (is_position(texts[i], strlen(texts[i])))
			fail_msg("%s is a position", texts[i]);
	assert_false(is_position("1-1-1\0", 6));
	assert_false(is_position("1-\0-1", 5));
	for (int i = 0; i < POSITION_NODES; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), ".%d-1", 10 + i);
	assert_true(is_position(many, strlen(many)));
	snprintf(many + strlen(many), sizeof(many) - strlen(many), ".9-1");
	assert_false(is_position(many, strlen(many)));
}

static void an_origin_is_a_node_and_perhaps_a_number(void **state)
{
	static const struct {
		const char *origin;
		uint64_t node;
		int64_t number;
	} origins[] = {
		{"00000000000000ff", 255, 0},
		{"ffffffffffffffff.9999999999999999", UINT64_MAX, INT64_C(9999999999999999)},
		{"00000000000000ff.0000000000000007", 255, 7},
		{"", 0, 0},
		{"ff", 0, 0},
		{"00000000000000FF", 0, 0},
		{"00000000000000fg", 0, 0},
		{"00000000000000ff-0000000000000007", 0, 0},
		{"00000000000000ff.000000000000000a", 0, 0},
		{"00000000000000ff.000000000000007", 0, 0},
		{"00000000000000ff.00000000000000007", 0, 0},
	};
	uint64_t node;
	int64_t number;

	(void)state;
	for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
		position_origin(origins[i].origin, strlen(origins[i].origin), &node, &number);
		if (node != origins[i].node || number != origins[i].number)
			fail_msg("%s", origins[i].origin);
	}
}

static void what_one_has_had_the_other_has_had_too(void **state)
{
	struct position one = parsed("1-50-5.2-7.3-2"), other = parsed("2-90-9.1-6.3-1");

	(void)state;
	assert_false(position_reaches(&one, &other));
	assert_false(position_reaches(&other, &one));
	assert_int_equal(position_newest(&one, C), 0);
	position_add(&one, &other);
	assert_string_equal(written(&one), "\"1-50-6.2-9.3-2\"");
	assert_true(position_reaches(&one, &other));
	position_add(&other, &one);
	assert_string_equal(written(&other), "\"2-90-9.1-6.3-2\"");
	assert_true(position_reaches(&other, &one) && position_reaches(&one, &other));
	position_set(&other, A, 0);
	assert_string_equal(written(&other), "\"2-90-0.1-6.3-2\"");
	position_set(&other, HERE, 0); /* no more than if it had never been set */
	assert_string_equal(written(&other), "\"2-90-0.3-2\"");
	position_set(&other, 0, 5);
	assert_int_equal(position_newest(&other, 0), 0);
}

struct event {
	int64_t id;
	uint64_t node;
	int64_t number;
	bool is_covered;
};

static void assert_covers(const struct client_position *client, const struct event *events)
{
	for (; events->id; events++)
		if (client_position_covers(client, events->id, events->node, events->number) !=
		    events->is_covered)
			fail_msg("event %lld of %lld, %lld", (long long)events->id,
				 (long long)events->node, (long long)events->number);
}

static void a_client_has_had_all_up_to_the_id_that_was_given_here(void **state)
{
	static const struct event events[] = {
		{20, HERE, 20, true}, {19, A, 100, true},    {18, 9, 0, true},
		{21, HERE, 21, true}, {22, HERE, 22, false}, {23, A, 7, true},
		{24, A, 8, false},    {21, 9, 0, false},     {0}};
	struct position given = parsed("1-k-l.2-7"); /* the last own one it has had elsewhere */
	struct client_position client;

	(void)state;
	client_position_begin(&client, &given, HERE, 20, 60);
	assert_covers(&client, events);
	assert_string_equal(written(&client.position), "\"1-k-l.2-7\"");
}

static void a_client_from_elsewhere_has_had_what_the_numbers_say(void **state)
{
	static const struct event events[] = {
		{20, A, 100, true}, /* all of them, or it would begin earlier */
		{21, HERE, 21, true}, {22, HERE, 22, false}, {23, A, 9, true},	{24, A, 10, false},
		{25, B, 1, false},    {30, 9, 0, true},	     {31, 9, 0, false}, {0}};
	struct position given = parsed("2-900-9.1-l"); /* 900 is A's affair */
	struct client_position client;

	(void)state;
	client_position_begin(&client, &given, HERE, 20, 30);
	assert_covers(&client, events);
	assert_string_equal(written(&client.position), "\"1-k-l.2-9\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_position_is_written_as_it_was_read),
		cmocka_unit_test(the_longest_position_fits),
		cmocka_unit_test(anything_else_is_no_position),
		cmocka_unit_test(an_origin_is_a_node_and_perhaps_a_number),
		cmocka_unit_test(what_one_has_had_the_other_has_had_too),
		cmocka_unit_test(a_client_has_had_all_up_to_the_id_that_was_given_here),
		cmocka_unit_test(a_client_from_elsewhere_has_had_what_the_numbers_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
