/*
 * UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Pure functions.
 */
#ifndef SHARED_UTF8_H
#define SHARED_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest encoding of one code point, in bytes. */
enum { UTF8_MAX_BYTES = 4 };

/* True when all `len` bytes are well-formed UTF-8; an empty text is. */
bool utf8_valid(const char *text, size_t len);

/* The length in bytes (1 to 4) of the well-formed character at `text`, or 0 if there is none within
 * `len`. */
size_t utf8_char_len(const char *text, size_t len);

/* Writes the encoding of `code_point` (not a surrogate, at most U+10FFFF) and returns its length, 1
 * to 4. */
size_t utf8_encode(uint32_t code_point, char out[UTF8_MAX_BYTES]);

#endif
