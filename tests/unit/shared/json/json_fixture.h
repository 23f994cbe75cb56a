/*
 * For tests of strict JSON: texts with their lengths, and what is said of them. Each is copied to
 * memory of just its length, so that the build with sanitizers finds a byte read too many. Include
 * it once, in the test program.
 */
#ifndef TESTS_UNIT_JSON_FIXTURE_H
#define TESTS_UNIT_JSON_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/json/json.h"

struct text {
	const char *bytes;
	size_t len;
};

/* Without braces of its own: clang-format would take them for a block. */
#define TEXT(literal) literal, sizeof(literal) - 1

/* What json_object_members says of the text, with no member asked for. */
static inline const char *fault_of(const char *bytes, size_t len, size_t *error_at)
{
	char *copy = xreallocarray(NULL, len, 1);
	const char *fault;

	memcpy(copy, bytes, len);
	fault = json_object_members(copy, len, NULL, 0, error_at);
	free(copy);
	return fault;
}

/* A good text that is no object is good JSON all the same. */
static inline bool is_json(const char *bytes, size_t len)
{
	size_t error_at;
	const char *fault = fault_of(bytes, len, &error_at);

	return !fault || strcmp(fault, "not an object") == 0;
}

#endif
