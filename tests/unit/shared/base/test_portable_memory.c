// needs: .ci/portable-memory.c
/* What the static programs have in the place of musl's memcpy, memmove and memcmp, against the C
 * library's: each length up to where it hands over, at overlapping places too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { FEW = 64, MOST = FEW + 8, ROOM = 3 * MOST };

void *__wrap_memcpy(void *restrict to, const void *restrict from, size_t len);
void *__wrap_memmove(void *to, const void *from, size_t len);
int __wrap_memcmp(const void *left, const void *right, size_t len);
void *__real_memcpy(void *restrict to, const void *restrict from, size_t len);
void *__real_memmove(void *to, const void *from, size_t len);

static int handed_over;

void *__real_memcpy(void *restrict to, const void *restrict from, size_t len)
{
	handed_over++;
	return memcpy(to, from, len);
}

void *__real_memmove(void *to, const void *from, size_t len)
{
	handed_over++;
	return memmove(to, from, len);
}

static void fill(unsigned char bytes[ROOM], unsigned char wanted[ROOM])
{
	for (size_t i = 0; i < ROOM; i++)
		bytes[i] = wanted[i] = (unsigned char)(i + 1);
}

static void copies_are_those_of_the_c_library(void **state)
{
	unsigned char bytes[ROOM], wanted[ROOM];

	(void)state;
	for (size_t len = 0; len <= MOST; len++) {
		fill(bytes, wanted);
		memcpy(wanted + 2 * MOST, wanted, len);
		assert_ptr_equal(__wrap_memcpy(bytes + 2 * MOST, bytes, len), bytes + 2 * MOST);
		assert_memory_equal(bytes, wanted, ROOM);
		for (size_t to = 0; to <= 2 * MOST; to++) {
			fill(bytes, wanted);
			memmove(wanted + to, wanted + MOST, len);
			assert_ptr_equal(__wrap_memmove(bytes + to, bytes + MOST, len), bytes + to);
			assert_memory_equal(bytes, wanted, ROOM);
		}
	}
	assert_int_equal(handed_over, (MOST - FEW) * (1 + 2 * MOST + 1));
}

static int sign(int order)
{
	return (order > 0) - (order < 0);
}

static void comparisons_are_those_of_the_c_library(void **state)
{
	unsigned char left[ROOM], right[ROOM];

	(void)state;
	for (size_t len = 0; len <= MOST; len++)
		for (size_t at = 0; at <= len; at++) {
			fill(left, right);
			right[at] ^= 0x80;
			right[at + 1] = 0; /* what comes later has no say */
			assert_int_equal(sign(__wrap_memcmp(left, right, len)),
					 sign(memcmp(left, right, len)));
			assert_int_equal(sign(__wrap_memcmp(right, left, len)),
					 sign(memcmp(right, left, len)));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_those_of_the_c_library),
		cmocka_unit_test(comparisons_are_those_of_the_c_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
