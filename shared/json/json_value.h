/*
 * A single JSON value that json_object_members has pointed at, and what it says. The text belongs
 * to the caller; its grammar has been checked. Pure functions; no allocation.
 */
#ifndef SHARED_JSON_VALUE_H
#define SHARED_JSON_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
	JSON_ABSENT = 0, /* the object has no such member */
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

/* A value inside a text that somebody else owns: from its first byte to its last, quotes and
 * brackets included, no white space around it. */
struct json_value {
	enum json_kind kind;
	const char *at;
	size_t len;
};

/* The decoded bytes of a JSON_STRING, without a NUL after them, into `out` of `size` bytes. Returns
 * false, and leaves *out_len alone, when it does not fit or holds a lone surrogate escape. An
 * escaped NUL is a byte like any other. */
bool json_string_decode(struct json_value string, char *out, size_t size, size_t *out_len);

/* True, and *out set, when the value is a number written as an integer (no fraction, no exponent)
 * that fits 64 bits. */
bool json_int64(struct json_value number, int64_t *out);

/* True when the value is a string that decodes to just these bytes, at most JSON_PLAIN_MAX. */
enum { JSON_PLAIN_MAX = 255 };
bool json_string_is(struct json_value string, const char *plain);

#endif
