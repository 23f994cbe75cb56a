/*
 * What a topic may be: an opaque string of 1 to 255 bytes of UTF-8 without control characters
 * (U+0000 to U+001F, U+007F), compared byte by byte. Pure functions.
 */
#ifndef SHARED_TOPIC_NAME_H
#define SHARED_TOPIC_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/slice.h"

enum { TOPIC_MAX_BYTES = 255 };

/* The topic that always exists, needs a token, and answers status questions. */
#define TOPIC_STATUS "worker.status"

/* NULL when the topic is good, otherwise a constant reason for people: "empty", "longer than 255
 * bytes", "not valid UTF-8", "control character". */
const char *topic_name_fault(const char *topic, size_t len);

bool topic_name_is_reserved(const char *topic, size_t len);

/* Decodes the percent escapes of a query value (RFC 3986, section 2.1; a '+' is a space, as
 * browsers' URLSearchParams writes it) into `out` of `size` bytes. Returns false for a broken
 * escape, or when the result does not fit. */
bool topic_percent_decode(const char *text, size_t len, char *out, size_t size, size_t *out_len);

/* What the query of a URL says about the topic. */
enum topic_query {
	TOPIC_NAMED,
	TOPIC_MISSING, /* no `topic=`, or nothing after it */
	TOPIC_BROKEN, /* its percent-encoding is */
	TOPIC_IMPOSSIBLE /* such a topic cannot exist */
};

/* Decodes the first "topic=..." of `query`, which has no '?', into `topic`. */
enum topic_query topic_of_query(struct slice query, char topic[TOPIC_MAX_BYTES], size_t *topic_len);

#endif
