/*
 * For tests of client frames: each is parsed in memory of just its length, so that the build with
 * sanitizers finds a byte read too many. Include it once, in the test program.
 */
#ifndef TESTS_UNIT_MESSAGE_FIXTURE_H
#define TESTS_UNIT_MESSAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "shared/contract/message.h"
#include "shared/base/alloc.h"

static struct message message;

static inline enum message_kind parse(const char *text, size_t len)
{
	char *exact = xreallocarray(NULL, len, 1);

	if (len > 0)
		memcpy(exact, text, len);
	memset(&message, 0xA5, sizeof(message)); /* nothing of what was there before counts */
	message_parse(exact, len, &message);
	free(exact);
	return message.kind;
}

static inline enum message_kind kind_of(const char *text)
{
	return parse(text, strlen(text));
}

#endif
