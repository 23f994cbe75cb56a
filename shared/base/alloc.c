/*
 * Memory or the end of the program, see alloc.h. No state; called by everybody; never blocks,
 * unless the kernel has only just started and has no randomness yet.
 *
 * The program ends with 71 (EX_OSERR) and without exit handlers, which might want memory too.
 */
#include "shared/base/alloc.h"

#include <stdint.h>
#include <sysexits.h>
#include <unistd.h>

static const char out_of_memory[] = "out of memory\n";

static _Noreturn void end(const char *why)
{
	fputs(why, stderr);
	_Exit(EX_OSERR);
}

void *xcalloc(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size ? size : 1);

	if (!memory)
		end(out_of_memory);
	return memory;
}

void *xreallocarray(void *old, size_t count, size_t size)
{
	/* Never 0 bytes: glibc would free `old` and return NULL. */
	void *memory = reallocarray(old, count ? count : 1, size ? size : 1);

	if (!memory)
		end(out_of_memory);
	return memory;
}

char *xstrndup(const char *text, size_t len)
{
	if (len == SIZE_MAX)
		end(out_of_memory);

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

void xrandom(void *bytes, size_t len)
{
	if (getentropy(bytes, len) != 0)
		end("the kernel gives no random numbers\n");
}
