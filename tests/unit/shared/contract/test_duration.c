/*
 * Durations as Go's ParseDuration and Duration.String treat them, and the limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/contract/duration.h"

static const struct {
	const char *text;
	int64_t ms;
} good[] = {
	{"0", 0},
	{"-0", 0},
	{"+0", 0},
	{"0s", 0},
	{"5s", 5000},
	{"30s", 30000},
	{"1478s", 1478000},
	{"-5s", -5000},
	{"+5s", 5000},
	{"5.0s", 5000},
	{"5.6s", 5600},
	{"5.s", 5000},
	{".5s", 500},
	{"1.0s", 1000},
	{"1.004s", 1004},
	{"1.0040s", 1004},
	{"100.00100s", 100001},
	{"10ns", 0},
	{"11us", 0},
	{"1000us", 1},
	{"1000\xC2\xB5s", 1},
	{"1000\xCE\xBCs", 1},
	{"13ms", 13},
	{"14s", 14000},
	{"15m", 900000},
	{"16h", 57600000},
	{"24h", 86400000},
	{"1h30m", 5400000},
	{"3h30m", 12600000},
	{"1.5s", 1500},
	{"300ms", 300},
	{"10.5s4m", 250500},
	{"-2m3.4s", -123400},
	{"1h2m3s4ms5us6ns", 3723004},
	{"39h9m14.425s", 140954425},
	{"1.999999ms", 1},
	{"-1.999999ms", -1},
	{"-999us", 0},
	{"007s", 7000},
	{"0.3333333333333333333h", 1200000},
	{"0.100000000000000000000h", 360000},
	{"0.9223372036854775807h", 3320413},
	{"9223372036854775807ns", INT64_C(9223372036854)},
	{"9223372036854775.807us", INT64_C(9223372036854)},
	{"9223372036s854ms775us807ns", INT64_C(9223372036854)},
	{"-9223372036854775808ns", INT64_C(-9223372036854)},
	{"-9223372036854775.808us", INT64_C(-9223372036854)},
	{"2562047h", INT64_C(9223369200000)},
};

static void what_go_takes_means_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ms = 12345;

		if (!duration_parse(good[i].text, &ms))
			fail_msg("\"%s\" is refused", good[i].text);
		if (ms != good[i].ms)
			fail_msg("\"%s\" is %lld ms", good[i].text, (long long)ms);
	}
}

static void what_go_refuses_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	 "3",	   "-",		"+",	"s",	  ".",	      "-.",
		".s",	 "+.s",	   "00",	"-00",	"0.0",	  "1",	      "3000000",
		"1d",	 "1w",	   "1 s",	" 1s",	"1s ",	  "1s\n",     "--1s",
		"+-1s",	 "1s-1s",  "1s+1s",	"1S",	"1H",	  "1sec",     "1ss",
		"1m s",	 "1.2.3s", "1..5s",	"1e3s", "0x10s",  "1,5s",     "ms",
		"1h30",	 "1h 30m", "inf",	"nan",	"1\xC2s", "\x85\x85", "\xFF\xFF",
		"hello", "1\xB5s", "1\xC2\xB5", "1.5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms = 12345;

		if (duration_parse(bad[i], &ms))
			fail_msg("\"%s\" is taken", bad[i]);
		assert_int_equal(ms, 12345);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	static const char *const bad[] = {
		"9223372036854775810ns",
		"9223372036854775808ns",
		"-9223372036854775809ns",
		"9223372036854776us",
		"3000000h",
		"9223372036854ms775us808ns",
		"99999999999999999999h",
		"18446744073709551616ns",
		"18446744073709551617s",
		"9223372036854775807h",
		"9223372036854775808ns9223372036854775808ns",
		"-9223372036854775808ns9223372036854775808ns",
		"-9223372036854775808ns1ns",
		"2562047h2562047h2562047h2562047h2562047h2562047h2562047h2562047h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms;

		if (duration_parse(bad[i], &ms))
			fail_msg("\"%s\" is taken", bad[i]);
	}
}

static void a_long_fraction_is_cut_not_refused(void **state)
{
	char text[300] = "0.";
	int64_t ms = 0;

	(void)state;
	memset(text + 2, '9', 200);
	text[202] = 's';
	assert_true(duration_parse(text, &ms));
	assert_in_range(ms, 999, 1000);
}

static void seconds_are_printed_as_go_prints_them(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{0, "0s"},	    {1, "1s"},
		{42, "42s"},	    {59, "59s"},
		{60, "1m0s"},	    {61, "1m1s"},
		{862, "14m22s"},    {3599, "59m59s"},
		{3600, "1h0m0s"},   {10805, "3h0m5s"},
		{93660, "26h1m0s"}, {86400 * 365, "8760h0m0s"},
		{-1, "0s"},	    {-100000, "0s"},
		{INT64_MIN, "0s"},  {INT64_MAX, "2562047788015215h30m7s"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[DURATION_TEXT_SIZE];

		duration_format(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void what_is_printed_is_read_back(void **state)
{
	(void)state;
	for (int64_t seconds = 0; seconds < 200000; seconds += 7) {
		char text[DURATION_TEXT_SIZE];
		int64_t ms;

		duration_format(seconds, text);
		assert_true(duration_parse(text, &ms));
		assert_int_equal(ms, seconds * 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_go_takes_means_the_same),
		cmocka_unit_test(what_go_refuses_is_refused),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_long_fraction_is_cut_not_refused),
		cmocka_unit_test(seconds_are_printed_as_go_prints_them),
		cmocka_unit_test(what_is_printed_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
