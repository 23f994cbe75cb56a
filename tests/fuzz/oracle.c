/*
 * See oracle.h. A struct oracle is a json_t.
 */
#include "tests/fuzz/oracle.h"

#include <jansson.h>
#include <stdint.h>

static json_t *theirs(const struct oracle *value)
{
	return (json_t *)(uintptr_t)value;
}

struct oracle *oracle_read(const char *text, size_t len)
{
	json_object_seed(1); /* the same run for the same input */
	return (struct oracle *)json_loadb(text, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
					   NULL);
}

void oracle_free(struct oracle *value)
{
	json_decref(theirs(value));
}

bool oracle_is_object(const struct oracle *value)
{
	return json_is_object(theirs(value));
}

const struct oracle *oracle_member(const struct oracle *object, const char *name)
{
	return (const struct oracle *)json_object_get(theirs(object), name);
}

bool oracle_equal(const struct oracle *a, const struct oracle *b)
{
	return json_equal(theirs(a), theirs(b));
}

const char *oracle_string(const struct oracle *value, size_t *len)
{
	*len = json_string_length(theirs(value));
	return json_string_value(theirs(value));
}
