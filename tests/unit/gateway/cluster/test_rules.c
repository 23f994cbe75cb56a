// needs: gateway/cluster/rules.c
/*
 * What the cluster decides by itself: tables of all that a node may find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "gateway/cluster/rules.h"

static void attempts_come_less_often_but_never_later_than_that(void **state)
{
	(void)state;
	for (unsigned failures = 1; failures < 100; failures++) {
		int64_t most = failures < 6 ? BACKOFF_FIRST_MS << (failures - 1) : BACKOFF_MOST_MS;

		most = most < BACKOFF_MOST_MS ? most : BACKOFF_MOST_MS;
		assert_int_equal(backoff_ms(failures, 0), most);
		for (uint64_t random = 1; random < 3000; random += 7) {
			assert_in_range(backoff_ms(failures, random), most - most / 4, most);
			assert_in_range(backoff_ms(failures, UINT64_MAX - random), most - most / 4,
					most);
		}
	}
	assert_int_not_equal(backoff_ms(9, 1), backoff_ms(9, 2));
	assert_int_equal(backoff_ms(UINT32_MAX, 0), BACKOFF_MOST_MS);
}

static bool read_text(const char *text, struct log_position *out)
{
	return log_position_read((struct slice){text, strlen(text)}, out);
}

static void a_position_is_two_numbers_and_nothing_else(void **state)
{
	static const char *const good[] = {"0-0", "1700000000000-12",
					   "18446744073709551615-18446744073709551615"};
	static const char *const bad[] = {
		"",
		"-",
		"1",
		"1-",
		"-1",
		"1-2-3",
		"1-2 ",
		" 1-2",
		"+1-2",
		"1-0x2",
		"1--2",
		"a-1",
		"1-a",
		"18446744073709551616-0",
		"99999999999999999999-0",
		"000000000000000000001-0",
	};
	struct log_position position = {7, 7};
	char text[LOG_POSITION_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(read_text(good[i], &position));
		log_position_write(position, text);
		assert_string_equal(text, good[i]);
	}
	position = (struct log_position){7, 7};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (read_text(bad[i], &position) || position.ms != 7 || position.number != 7)
			fail_msg("taken: %s", bad[i]);
	const struct log_position order[] = {{0, 0}, {0, 1}, {1, 0}, {1, 9}, {2, 0}};
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < 5; j++) {
			int expected = (i > j) - (i < j);

			assert_int_equal(log_position_compare(order[i], order[j]), expected);
		}
}

/* Where this node stands is between the other two. */
#define OLD                                                                                        \
	{                                                                                          \
		10, 0                                                                              \
	}
#define MINE                                                                                       \
	{                                                                                          \
		20, 0                                                                              \
	}
#define YOUNG                                                                                      \
	{                                                                                          \
		30, 0                                                                              \
	}

static const struct {
	const char *name;
	struct log_findings findings;
	struct log_position position;
	enum log_verdict verdict;
} cases[] = {
	{"never here", {.is_new_here = 1, .has_log = 1, .newest = YOUNG}, {0}, LOG_FIRST_TIME},
	{"another marker", {.has_log = 1, .has_entry = 1, .newest = YOUNG}, MINE, LOG_LOST},
	{"nothing was read yet, no log", {.has_marker = 1}, {0}, LOG_GOES_ON},
	{"nothing was read yet",
	 {.has_marker = 1, .has_log = 1, .has_first = 1, .first = OLD, .newest = YOUNG},
	 {0},
	 LOG_GOES_ON},
	{"no log any more", {.has_marker = 1}, MINE, LOG_LOST},
	{"it is there",
	 {.has_marker = 1,
	  .has_log = 1,
	  .has_entry = 1,
	  .has_first = 1,
	  .first = OLD,
	  .newest = YOUNG},
	 MINE,
	 LOG_GOES_ON},
	{"reading it again was interrupted",
	 {.has_marker = 1, .is_unread = 1, .has_log = 1, .has_entry = 1, .newest = YOUNG},
	 MINE,
	 LOG_UNREAD},
	{"so was it, and it was trimmed meanwhile",
	 {.has_marker = 1,
	  .is_unread = 1,
	  .has_log = 1,
	  .has_first = 1,
	  .first = YOUNG,
	  .newest = YOUNG},
	 MINE,
	 LOG_UNREAD},
	{"so was it, and it is lost again",
	 {.has_marker = 1,
	  .is_unread = 1,
	  .has_log = 1,
	  .has_first = 1,
	  .first = OLD,
	  .newest = OLD},
	 MINE,
	 LOG_LOST},
	{"so was it, and there is another one",
	 {.is_unread = 1, .has_log = 1, .newest = YOUNG},
	 MINE,
	 LOG_LOST},
	{"the log ends before",
	 {.has_marker = 1, .has_log = 1, .has_first = 1, .first = OLD, .newest = OLD},
	 MINE,
	 LOG_LOST},
	{"it ended before, and went on",
	 {.has_marker = 1, .has_log = 1, .has_first = 1, .first = OLD, .newest = YOUNG},
	 MINE,
	 LOG_LOST},
	{"trimmed",
	 {.has_marker = 1, .has_log = 1, .has_first = 1, .first = YOUNG, .newest = YOUNG},
	 MINE,
	 LOG_TRIMMED},
	{"all is trimmed", {.has_marker = 1, .has_log = 1, .newest = YOUNG}, MINE, LOG_TRIMMED},
	{"the very last is trimmed",
	 {.has_marker = 1, .has_log = 1, .newest = MINE},
	 MINE,
	 LOG_TRIMMED},
};

static void what_redis_has_says_whether_it_has_lost_its_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (log_judge(&cases[i].findings, cases[i].position) != cases[i].verdict)
			fail_msg("%s", cases[i].name);
}

static void an_event_is_new_or_known_or_comes_after_a_gap(void **state)
{
	static const struct {
		int64_t last_id, id, prev;
		bool may_miss;
		enum entry_verdict verdict;
	} events[] = {
		{5, 6, 5, false, ENTRY_NEW},	   {5, 9, 5, false, ENTRY_NEW}, /* ids have holes */
		{5, 5, 4, false, ENTRY_KNOWN},	   {5, 4, 3, true, ENTRY_KNOWN},
		{5, 8, 7, false, ENTRY_AFTER_GAP}, {5, 8, 7, true, ENTRY_AFTER_GAP},
		{5, 8, 4, false, ENTRY_NEW}, /* it was sent twice, with other ones around it */
		{5, 8, 0, false, ENTRY_NEW},	   {0, 3, 0, true, ENTRY_NEW},
		{0, 3, 2, false, ENTRY_FIRST},	   {0, 3, 2, true, ENTRY_AFTER_GAP},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (entry_judge(events[i].last_id, events[i].id, events[i].prev,
				events[i].may_miss) != events[i].verdict)
			fail_msg("event %zu", i);
}

static void an_event_names_the_one_before_it_unless_that_stayed_at_home(void **state)
{
	(void)state;
	assert_int_equal(prev_of(50, 0, 10), 50);
	assert_int_equal(prev_of(50, 40, 10), 50); /* pruned, but it was relayed before */
	assert_int_equal(prev_of(50, 60, 10), 60); /* pruned before it was relayed */
	assert_int_equal(prev_of(10, 0, 10), 0);
	assert_int_equal(prev_of(10, 7, 10), 0);
	assert_int_equal(prev_of(10, 11, 10), 11);
}

static void large_entries_are_asked_for_by_the_few_and_small_ones_by_the_many(void **state)
{
	static const size_t sizes[] = {1, 1000, 100 * 1000, 1000 * 1000, 70 * 1000 * 1000};
	unsigned count = READ_COUNT_MOST;

	(void)state;
	for (int i = 0; i < 20; i++)
		count = read_count(count, READ_BYTES + 1, 1000);
	assert_int_equal(count, 1);
	assert_int_equal(read_count(8, READ_BYTES / 2, 1000), 8);
	for (int i = 0; i < 20; i++)
		count = read_count(count, 0, 1000);
	assert_int_equal(count, READ_COUNT_MOST);
	/* However few bytes came last: if all are as large as one was, they fit into an answer. */
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		count = read_count(READ_COUNT_MOST, 0, sizes[i]);
		assert_in_range(count, 1, READ_COUNT_MOST);
		assert_true(count == 1 || count * sizes[i] <= READ_BYTES_MOST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attempts_come_less_often_but_never_later_than_that),
		cmocka_unit_test(a_position_is_two_numbers_and_nothing_else),
		cmocka_unit_test(what_redis_has_says_whether_it_has_lost_its_memory),
		cmocka_unit_test(an_event_is_new_or_known_or_comes_after_a_gap),
		cmocka_unit_test(an_event_names_the_one_before_it_unless_that_stayed_at_home),
		cmocka_unit_test(large_entries_are_asked_for_by_the_few_and_small_ones_by_the_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
