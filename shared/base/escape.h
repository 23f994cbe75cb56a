/*
 * Text from outside made fit to be shown: on a terminal, in one line of a log, between quotes. Pure
 * functions.
 *
 * Quotes and backslashes get a backslash. Control characters (C0, DEL, C1), bytes that are not
 * well-formed UTF-8, line and paragraph separators, and marks that change the direction of text
 * become \xNN, byte by byte.
 */
#ifndef SHARED_ESCAPE_H
#define SHARED_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/* The longest form of one character: four bytes, each as \xNN, and a NUL. */
enum { ESCAPE_MAX_BYTES = 17 };

/* Writes the shown form of the first character of `text` (`len` > 0) to `out` and its length
 * to *out_len. Returns how many bytes of `text` it took. */
size_t escape_next(const char *text, size_t len, char out[ESCAPE_MAX_BYTES], size_t *out_len);

/* True when nothing in it needs a \xNN. */
bool escape_is_plain(const char *text, size_t len);

#endif
