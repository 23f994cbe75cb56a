/*
 * Strict JSON (RFC 8259): one pass that validates a whole text and points at the top-level members
 * that the caller asked for. Nothing is copied and no tree is built, so a payload can be passed on
 * byte for byte. Pure functions; no recursion, no allocation.
 *
 * Stricter than most parsers on purpose: the text must be valid UTF-8 without a byte order mark,
 * and nothing but white space may follow the value. The grammar allows an escaped lone surrogate
 * ("\ud800") in a string; json_string_decode refuses it, because it has no UTF-8 form.
 */
#ifndef SHARED_JSON_H
#define SHARED_JSON_H

#include <stddef.h>

#include "shared/json/json_value.h"

/* Arrays and objects may be nested this deep, the outermost one included. */
enum { JSON_MAX_DEPTH = 1024 };

/* One top-level member that a caller asks for. `name` is plain ASCII; it matches however the text
 * escapes it ("topic", "\u0074opic"). If a member is given twice, the last one counts, as in PHP
 * and Go. */
struct json_member {
	const char *name;
	struct json_value value;
	bool in_any_case; /* "Topic" and "TOPIC" are "topic" as well, as for Go */
};

/* Validates `text`, which must be one JSON object, and fills `value` of each of the `count` members
 * (JSON_ABSENT where there is none). Returns NULL when the text is good, else a short constant
 * sentence for people ("unexpected character", "invalid UTF-8", "nested too deep", ...) and, in
 * *error_at, the offset of the first byte that is wrong; the members then say nothing. A good text
 * that is not an object is an error too ("not an object"). */
const char *json_object_members(const char *text, size_t len, struct json_member *members,
				size_t count, size_t *error_at);

/* True when `text` is one JSON value of any kind, by the same rules. */
bool json_is_valid(const char *text, size_t len);

#endif
