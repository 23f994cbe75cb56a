/*
 * For tests of the configuration: texts that are read, and what was found in them. Include it once,
 * in the test program.
 */
#ifndef TESTS_UNIT_CONFIG_FIXTURE_H
#define TESTS_UNIT_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/config/config_internal.h"

#define SECRET "a secret of 32 characters or more"
#define SECRET_LINE "worker_secret: \"" SECRET "\"\n"

/* Without braces of its own: clang-format would take them for a block. */
#define BYTES(literal) literal, sizeof(literal) - 1

enum { FOUND_MAX = CONFIG_MAX_FINDINGS + 10 };

static struct found {
	bool is_error;
	char file[64];
	size_t line;
	char message[512];
} found[FOUND_MAX];
static size_t found_count;

/* The variables of whoever runs the tests are none of theirs. */
__attribute__((constructor)) static void clear_environment(void)
{
	for (const struct config_key *key = config_keys; key->name; key++)
		if (key->environment)
			unsetenv(key->environment);
	unsetenv("WAVELOG_WORKER_CONFIG");
}

static inline void take_finding(void *context, bool is_error, const char *file, size_t line,
				const char *message)
{
	struct found *next = &found[found_count];

	assert_true(found_count < FOUND_MAX);
	assert_ptr_equal(context, found);
	/* What is wrong in a text has a line, unless two keys do not go together. */
	assert_true(line > 0 || strcmp(file, "f") != 0 || strstr(message, " only for a "));
	assert_null(strstr(message, SECRET));
	next->is_error = is_error;
	next->line = line;
	snprintf(next->file, sizeof(next->file), "%s", file);
	snprintf(next->message, sizeof(next->message), "%s", message);
	found_count++;
}

/* Reads a text as the file "f". From memory of just its length, so that a byte read too many is
 * found. */
static inline struct config *parse(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	struct config *config;

	memcpy(copy, text, len);
	found_count = 0;
	config = config_parse(copy, len, "f", take_finding, found);
	free(copy);
	return config;
}

static inline struct config *load(const char *path)
{
	found_count = 0;
	return config_load(path, take_finding, found);
}

/* The finding of that index must be this one. */
static inline void assert_found(size_t index, bool is_error, size_t line, const char *message)
{
	if (index >= found_count)
		fail_msg("not found: %s", message);
	if (found[index].is_error != is_error || found[index].line != line ||
	    strcmp(found[index].message, message) != 0)
		fail_msg("line %zu, %s: %s, instead of line %zu: %s", found[index].line,
			 found[index].is_error ? "error" : "warning", found[index].message, line,
			 message);
}

/* The configuration of a file with these lines and a secret; nothing is found in it. Free it. */
static inline struct config *good(const char *lines)
{
	char text[4096];
	int len = snprintf(text, sizeof(text), "%s" SECRET_LINE, lines);
	struct config *config;

	assert_in_range(len, 0, (int)sizeof(text) - 1);
	config = parse(text, (size_t)len);
	if (!config || found_count > 0)
		fail_msg("%s is refused: %s", lines, found[0].message);
	return config;
}

/* A file with these lines and a secret has this one error and nothing else. */
static inline void bad(const char *lines, size_t line, const char *message)
{
	char text[4096];
	int len = snprintf(text, sizeof(text), "%s" SECRET_LINE, lines);

	assert_in_range(len, 0, (int)sizeof(text) - 1);
	if (parse(text, (size_t)len))
		fail_msg("%s is taken", lines);
	assert_found(0, true, line, message);
	assert_int_equal(found_count, 1);
}

#endif
