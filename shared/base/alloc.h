/*
 * Memory: either there is some, or the program ends. This is the one place where running out of it
 * is dealt with.
 *
 * A service that cannot get a few hundred bytes cannot report, log or answer either; by ending at
 * once it lets the supervisor restart it on a database that is whole (commit first, then answer).
 * Sizes that come from outside are bounded before they reach these functions.
 */
#ifndef SHARED_ALLOC_H
#define SHARED_ALLOC_H

#include <stddef.h>

/* Ends the program, because there is no more of that ("memory"): with 71 (EX_OSERR), and without
 * exit handlers, which might want some too. */
_Noreturn void end_for_want_of(const char *what);

/* Zeroed memory of count * size bytes; the caller frees it. Ends the program when there is none. */
void *xcalloc(size_t count, size_t size);

/* As realloc; a count * size that overflows ends the program too. */
void *xreallocarray(void *old, size_t count, size_t size);

/* A copy of `len` bytes with a NUL after them; the caller frees it. */
char *xstrndup(const char *text, size_t len);

/* A copy of a NUL-terminated string; the caller frees it. */
char *xstrdup(const char *text);

#endif
