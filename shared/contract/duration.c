/*
 * Durations as Go writes them, see duration.h. No state, no allocation, never blocks. Called by the
 * configuration (parse) and by both status answers (format).
 *
 * The steps and the arithmetic, down to the limit of 2^63 nanoseconds (292 years), are those of
 * Go's time.ParseDuration, so that a file means the same to both implementations.
 */
#include "shared/contract/duration.h"

#include <ctype.h>
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
	{0},
};

/* The digits at *text: *value takes as many as fit, and *scale is the power of ten that belongs to
 * them. False when there are more. */
static bool read_digits(const char **text, uint64_t *value, double *scale)
{
	bool fits = true;

	for (; isdigit((unsigned char)**text); (*text)++) {
		uint64_t digit = (uint64_t)(**text - '0');

		fits = fits && *value <= (limit_ns - digit) / 10;
		if (fits) {
			*value = *value * 10 + digit;
			*scale *= 10;
		}
	}
	return fits;
}

/* Adds one number with its unit, which is everything up to the next number. */
static bool add_term(const char **text, uint64_t *sum_ns)
{
	uint64_t whole = 0, fraction = 0, term_ns;
	double unused = 1, scale = 1;
	const struct unit *unit = units;
	size_t len;
	bool fits;

	if (!isdigit((unsigned char)(*text)[**text == '.']))
		return false;
	fits = read_digits(text, &whole, &unused);
	if (**text == '.') {
		(*text)++;
		read_digits(text, &fraction, &scale);
	}
	len = strcspn(*text, ".0123456789");
	while (unit->name && (strlen(unit->name) != len || memcmp(*text, unit->name, len) != 0))
		unit++;
	if (!fits || !unit->name || whole > limit_ns / unit->ns)
		return false;
	*text += len;
	term_ns = whole * unit->ns + (uint64_t)((double)fraction * ((double)unit->ns / scale));
	return !__builtin_add_overflow(*sum_ns, term_ns, sum_ns) && *sum_ns <= limit_ns;
}

bool duration_parse(const char *text, int64_t *out_ms)
{
	bool negative = *text == '-';
	uint64_t sum_ns = 0;
	int64_t ms;

	text += *text == '-' || *text == '+';
	if (strcmp(text, "0") != 0) {
		do {
			if (!add_term(&text, &sum_ns))
				return false;
		} while (*text);
	}
	if (sum_ns == limit_ns && !negative)
		return false;
	ms = (int64_t)(sum_ns / 1000000);
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
