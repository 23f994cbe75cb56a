/*
 * A piece of a text that somebody else owns: it has a length, and no NUL after it. Pure functions.
 */
#ifndef SHARED_SLICE_H
#define SHARED_SLICE_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
	const char *at; /* NULL: there is none */
	size_t len;
};

/* All of a text that ends in a NUL. */
struct slice slice_of(const char *text);

/* Whether it is just these bytes. */
bool slice_equals(struct slice text, const char *plain);

/* Without the spaces and tabs at both ends. */
struct slice slice_trim(struct slice text);

/* What comes before the first `separator`, or all of it. *rest is what comes after it, with a NULL
 * `at` if there is none. */
struct slice slice_split(struct slice text, char separator, struct slice *rest);

/* Digits and nothing else, no leading zero, at most `max` and at most five digits. */
enum { SLICE_NUMBER_DIGITS = 5 };
bool slice_number(struct slice text, unsigned max, unsigned *out);

/* The value of a lower-case hexadecimal digit; -1: it is none. */
int hex_digit(char c);

/* The byte that an escape at the start of the text (%41, in either case) stands for; -1: it is
 * broken. */
int slice_percent(struct slice text);

#endif
