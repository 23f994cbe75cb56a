/*
 * Web origins (RFC 6454): where the page that opens a connection comes from. Compared as browsers
 * do: scheme and host in any case, a default port may be left out. Pure functions.
 */
#ifndef SHARED_ORIGIN_H
#define SHARED_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

enum { ORIGIN_SIZE = 320 }; /* the longest one, NUL included */

/* "https://Example.org:443" to the one form that all its spellings have: "https://example.org".
 * False when the text is not an origin: no scheme or host, a path or a slash after it, a name that
 * is not plain ASCII ("xn--..." is), or "null". With `is_pattern` the host may begin with "*.". */
bool origin_normalise(const char *text, size_t len, bool is_pattern, char out[ORIGIN_SIZE]);

/* A pattern of origins: one whose host may begin with "*.", which stands for one label or more.
 * "*.example.org" matches log.example.org and a.b.example.org, but not example.org. NULL when it is
 * good, with its normal form in `out`; otherwise what is wrong, for people, or "" when it is
 * nothing like an origin. */
const char *origin_pattern_fault(const char *text, size_t len, char out[ORIGIN_SIZE]);

/* True when the origin in any spelling matches one of `list`: normalised patterns, joined by
 * commas. */
bool origin_is_listed(const char *list, const char *text, size_t len);

/* True when a page of that origin may come in: `list` is empty, or the origin is in it. A client
 * that names no origin (`text` is NULL) is not a page. */
bool origin_is_allowed(const char *list, const char *text, size_t len);

/* The header lines, each with its CRLF, that make a browser let a page of that origin see the
 * answer (CORS, in the Fetch standard); for errors too. Returns their length; a NUL follows. */
enum { ORIGIN_HEAD_SIZE = ORIGIN_SIZE + 64 };
size_t origin_head(const char *list, const char *text, size_t len, char out[ORIGIN_HEAD_SIZE]);

#endif
