/*
 * One command line of the load generator: a verb, and then key=value pairs without white space. The
 * driver that writes them is ours, so what is wrong ends the program with a message.
 */
#ifndef BENCH_ARGUMENTS_H
#define BENCH_ARGUMENTS_H

#include <stdint.h>

enum { ARGUMENTS_MAX = 32 };

struct arguments {
	const char *verb;
	unsigned count;
	struct {
		const char *key, *value;
	} pairs[ARGUMENTS_MAX];
};

/* Cuts `line` up in place; everything in *arguments points into it. */
void arguments_read(char *line, struct arguments *arguments);

/* The value of a key; the program ends when it is missing. */
const char *argument_text(const struct arguments *arguments, const char *key);

/* As above, or `otherwise` (may be NULL) when it is missing. */
const char *argument_text_or(const struct arguments *arguments, const char *key,
			     const char *otherwise);

/* An integer >= 0, or `otherwise` when the key is missing; the program ends when it is none. */
int64_t argument_number(const struct arguments *arguments, const char *key, int64_t otherwise);

#endif
