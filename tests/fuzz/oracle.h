/*
 * jansson, the independent JSON parser, behind names of its own: its header and ours both have a
 * JSON_NULL.
 */
#ifndef TESTS_FUZZ_ORACLE_H
#define TESTS_FUZZ_ORACLE_H

#include <stdbool.h>
#include <stddef.h>

struct oracle;

/* NULL when the text is no JSON. Free with oracle_free; NULL is allowed there. */
struct oracle *oracle_read(const char *text, size_t len);
void oracle_free(struct oracle *value);

bool oracle_is_object(const struct oracle *value);

/* The member of that name, borrowed; NULL when there is none. */
const struct oracle *oracle_member(const struct oracle *object, const char *name);

bool oracle_equal(const struct oracle *a, const struct oracle *b);

/* The decoded bytes, borrowed; NULL when it is no string. */
const char *oracle_string(const struct oracle *value, size_t *len);

#endif
