/*
 * Durations as Go writes them, see duration.h. No state, no allocation, never blocks. Called by the
 * configuration (parse) and by both status answers (format).
 *
 * The steps and the arithmetic, down to the limit of 2^63 nanoseconds (292 years), are those of
 * Go's time.ParseDuration, so that a file means the same to both implementations.
 */
#include "shared/contract/duration.h"

#include <inttypes.h>

/* 2^63: one more than fits, because the sign is applied last and -2^63 is a good value. */
static const uint64_t limit_ns = UINT64_C(1) << 63;

static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xC2\xB5s", 1000}, /* U+00B5, micro sign */
	{"\xCE\xBCs", 1000}, /* U+03BC, Greek letter mu */
	{"ms", 1000000},
	{"s", UINT64_C(1000000000)},
	{"m", UINT64_C(60000000000)},
	{"h", UINT64_C(3600000000000)},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The digits at *text; false when they are more than 2^63. */
static bool read_whole(const char **text, uint64_t *out)
{
	uint64_t value = 0;

	for (; is_digit(**text); (*text)++) {
		if (value > limit_ns / 10)
			return false;
		value = value * 10 + (uint64_t)(**text - '0');
		if (value > limit_ns)
			return false;
	}
	*out = value;
	return true;
}

/* The digits after a point: `value` / `scale`. Digits that no longer fit change nothing. */
static void read_fraction(const char **text, uint64_t *value, double *scale)
{
	bool is_full = false;

	for (; is_digit(**text); (*text)++) {
		uint64_t digit = (uint64_t)(**text - '0');

		is_full = is_full || *value > (limit_ns - 1) / 10 || *value * 10 + digit > limit_ns;
		if (is_full)
			continue;
		*value = *value * 10 + digit;
		*scale *= 10;
	}
}

/* The unit at *text, everything up to the next number; 0 for an unknown one. */
static uint64_t read_unit(const char **text)
{
	size_t len = strcspn(*text, ".0123456789");

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].name) == len && memcmp(*text, units[i].name, len) == 0) {
			*text += len;
			return units[i].ns;
		}
	}
	return 0;
}

/* One number with its unit, in nanoseconds. */
static bool read_term(const char **text, uint64_t *out_ns)
{
	uint64_t whole = 0;
	uint64_t fraction = 0;
	double scale = 1;
	const char *start = *text;
	bool has_digits;

	if (!read_whole(text, &whole))
		return false;
	has_digits = *text != start;
	if (**text == '.') {
		start = ++*text;
		read_fraction(text, &fraction, &scale);
		has_digits = has_digits || *text != start;
	}
	uint64_t unit = has_digits ? read_unit(text) : 0;
	if (unit == 0 || whole > limit_ns / unit)
		return false;
	*out_ns = whole * unit + (uint64_t)((double)fraction * ((double)unit / scale));
	return *out_ns <= limit_ns;
}

bool duration_parse(const char *text, int64_t *out_ms)
{
	bool negative = *text == '-';
	uint64_t sum_ns = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (*text == '\0')
		return false;
	if (text[0] == '0' && text[1] == '\0') {
		*out_ms = 0;
		return true;
	}
	while (*text) {
		uint64_t term_ns;

		if (!read_term(&text, &term_ns))
			return false;
		sum_ns += term_ns; /* both at most 2^63: at worst it wraps to exactly 0 */
		if (sum_ns > limit_ns || (sum_ns == 0 && term_ns > 0))
			return false;
	}
	if (sum_ns == limit_ns && !negative)
		return false;

	int64_t ms = (int64_t)(sum_ns / 1000000);
	*out_ms = negative ? -ms : ms;
	return true;
}

void duration_format(int64_t seconds, char out[DURATION_TEXT_SIZE])
{
	int64_t total = seconds > 0 ? seconds : 0, hours = total / 3600;
	int minutes = (int)(total / 60 % 60), rest = (int)(total % 60);

	if (hours > 0)
		snprintf(out, DURATION_TEXT_SIZE, "%" PRId64 "h%dm%ds", hours, minutes, rest);
	else if (minutes > 0)
		snprintf(out, DURATION_TEXT_SIZE, "%dm%ds", minutes, rest);
	else
		snprintf(out, DURATION_TEXT_SIZE, "%ds", rest);
}
