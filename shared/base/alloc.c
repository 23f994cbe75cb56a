/*
 * Memory or the end of the program, see alloc.h. No state; called by everybody; never blocks.
 */
#include "shared/base/alloc.h"

#include <stdint.h>
#include <sysexits.h>

_Noreturn void end_for_want_of(const char *what)
{
	fprintf(stderr, "out of %s\n", what);
	_Exit(EX_OSERR);
}

void *xcalloc(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size ? size : 1);

	if (!memory)
		end_for_want_of("memory");
	return memory;
}

void *xreallocarray(void *old, size_t count, size_t size)
{
	/* Never 0 bytes: glibc would free `old` and return NULL. */
	void *memory = reallocarray(old, count ? count : 1, size ? size : 1);

	if (!memory)
		end_for_want_of("memory");
	return memory;
}

char *xstrndup(const char *text, size_t len)
{
	if (len == SIZE_MAX)
		end_for_want_of("memory");

	char *copy = xreallocarray(NULL, len + 1, 1);
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *xstrdup(const char *text)
{
	return xstrndup(text, strlen(text));
}
