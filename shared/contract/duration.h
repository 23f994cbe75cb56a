/*
 * Durations as Go writes them: "24h", "1h30m", "1.5s", "300ms". Pure functions.
 */
#ifndef SHARED_DURATION_H
#define SHARED_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Enough for any output of duration_format, NUL included. */
enum { DURATION_TEXT_SIZE = 32 };

/* Go's time.ParseDuration: an optional sign, then numbers with an optional fraction, each with a
 * unit (ns, us, µs, ms, s, m, h); "0" alone needs none. Returns false for anything else, and when
 * the result does not fit. *out_ms is rounded toward zero. */
bool duration_parse(const char *text, int64_t *out_ms);

/* Whole seconds as Go's Duration.String prints them: "0s", "42s", "14m22s", "3h0m5s", "26h1m0s". A
 * negative number of seconds counts as 0. */
void duration_format(int64_t seconds, char out[DURATION_TEXT_SIZE]);

#endif
