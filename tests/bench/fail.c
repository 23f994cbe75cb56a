/*
 * The end of a tool that cannot go on, see fail.h.
 */
#include "tests/bench/fail.h"

#include <errno.h>
#include <stdarg.h>

void fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

void fail_errno(const char *what)
{
	fail("%s: %s", what, strerror(errno));
}
