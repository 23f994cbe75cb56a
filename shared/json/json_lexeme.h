/*
 * The strings, numbers and words of strict JSON: the lexical half of json.c, for its use alone.
 *
 * Each function begins with `at` on the first byte of a lexeme and leaves it behind the last one.
 * On failure it returns false, with `at` on the first wrong byte (or on `end`, when the text ends
 * too early) and the reason in `fault`. Pure functions.
 */
#ifndef SHARED_JSON_LEXEME_H
#define SHARED_JSON_LEXEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_cursor {
	const char *at;
	const char *end;
	const char *fault; /* a constant sentence, NULL while all is well */
};

/* Sets the fault and returns false. */
bool json_fail(struct json_cursor *cursor, const char *fault);

/* The same for a byte that is missing or does not belong here. */
bool json_fail_here(struct json_cursor *cursor);

/* A string, `at` on its opening quote: escapes, control characters and UTF-8 are checked. */
bool json_scan_string(struct json_cursor *cursor);

/* A number, or whatever stands where a number must. It ends where no byte more belongs to it. */
bool json_scan_number(struct json_cursor *cursor);

/* Just these bytes: "true", "false", "null". */
bool json_scan_word(struct json_cursor *cursor, const char *word);

#endif
