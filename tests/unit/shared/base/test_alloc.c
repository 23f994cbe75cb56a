/*
 * Without memory the program ends: in a child, seen by its exit status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "shared/base/alloc.h"

/* Asks the sanitizer, where there is one, to return NULL as the real functions do. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

enum fault { COUNT_OVERFLOWS, SIZE_OVERFLOWS, TOO_MUCH, COPY_OF_EVERYTHING };

/* Twice the half is 0 again. The compiler must not see through them, or it would warn. */
static volatile size_t half = SIZE_MAX / 2 + 1, most = SIZE_MAX;

static void fail_so(enum fault fault)
{
	switch (fault) {
	case COUNT_OVERFLOWS:
		free(xcalloc(half, 2));
		break;
	case SIZE_OVERFLOWS:
		free(xreallocarray(NULL, 2, half));
		break;
	case TOO_MUCH:
		free(xreallocarray(NULL, half, 1));
		break;
	case COPY_OF_EVERYTHING:
		free(xstrndup("", most));
		break;
	}
}

static void without_memory_the_program_ends(void **state)
{
	(void)state;
	for (enum fault fault = COUNT_OVERFLOWS; fault <= COPY_OF_EVERYTHING; fault++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			close(STDERR_FILENO);
			fail_so(fault);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), EX_OSERR);
	}
}

static void memory_is_zeroed_and_nothing_is_something(void **state)
{
	(void)state;
	unsigned char *bytes = xcalloc(1000, 3);

	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(bytes[i], 0);
	free(bytes);
	bytes = xcalloc(0, 5);
	assert_non_null(bytes);
	bytes = xreallocarray(bytes, 5, 0); /* not freed */
	assert_non_null(bytes);
	free(bytes);
}

static void a_grown_block_keeps_its_bytes(void **state)
{
	(void)state;
	char *bytes = xreallocarray(NULL, 4, 1);

	memcpy(bytes, "abcd", 4);
	bytes = xreallocarray(bytes, 100, 1000);
	assert_memory_equal(bytes, "abcd", 4);
	free(bytes);
}

static void a_copy_has_its_length_and_a_nul(void **state)
{
	(void)state;
	char *copy = xstrndup("a\0bcd", 3);

	assert_memory_equal(copy, "a\0b\0", 4);
	free(copy);
	copy = xstrndup(NULL, 0);
	assert_string_equal(copy, "");
	free(copy);
	copy = xstrdup("abc");
	assert_string_equal(copy, "abc");
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_the_program_ends),
		cmocka_unit_test(memory_is_zeroed_and_nothing_is_something),
		cmocka_unit_test(a_grown_block_keeps_its_bytes),
		cmocka_unit_test(a_copy_has_its_length_and_a_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
