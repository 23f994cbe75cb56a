/*
 * Copies and comparisons of a few bytes for the static programs on x86-64, in the place of musl's,
 * which start a string instruction for each (some thirty cycles), or go byte by byte. Linked with
 * --wrap, so that musl's are there for whatever is longer. All is loaded before anything is stored,
 * with loads that overlap in the middle: so the blocks may overlap, too. SSE2 is part of every
 * x86-64.
 */
#include <stddef.h>
#include <stdint.h>

enum { FEW = 64 };

typedef uint32_t half __attribute__((aligned(1), may_alias));
typedef uint64_t word __attribute__((aligned(1), may_alias));
typedef long long block __attribute__((vector_size(16), aligned(1), may_alias));

void *__real_memcpy(void *restrict to, const void *restrict from, size_t len);
void *__real_memmove(void *to, const void *from, size_t len);
void *__wrap_memcpy(void *restrict to, const void *restrict from, size_t len);
void *__wrap_memmove(void *to, const void *from, size_t len);
int __wrap_memcmp(const void *left, const void *right, size_t len);

static inline void copy_few(char *to, const char *from, size_t len)
{
	char *to_end = to + len;
	const char *end = from + len;

	if (len > 32) {
		block a = *(const block *)from, b = *(const block *)(from + 16);
		block c = *(const block *)(end - 32), d = *(const block *)(end - 16);

		*(block *)to = a;
		*(block *)(to + 16) = b;
		*(block *)(to_end - 32) = c;
		*(block *)(to_end - 16) = d;
	} else if (len > 16) {
		block a = *(const block *)from, b = *(const block *)(end - 16);

		*(block *)to = a;
		*(block *)(to_end - 16) = b;
	} else if (len >= 8) {
		word a = *(const word *)from, b = *(const word *)(end - 8);

		*(word *)to = a;
		*(word *)(to_end - 8) = b;
	} else if (len >= 4) {
		half a = *(const half *)from, b = *(const half *)(end - 4);

		*(half *)to = a;
		*(half *)(to_end - 4) = b;
	} else if (len > 0) {
		char a = from[0], b = from[len / 2], c = end[-1];

		to[0] = a;
		to[len / 2] = b;
		to_end[-1] = c;
	}
}

void *__wrap_memcpy(void *restrict to, const void *restrict from, size_t len)
{
	if (len > FEW)
		return __real_memcpy(to, from, len);
	copy_few(to, from, len);
	return to;
}

void *__wrap_memmove(void *to, const void *from, size_t len)
{
	if (len > FEW)
		return __real_memmove(to, from, len);
	copy_few(to, from, len);
	return to;
}

int __wrap_memcmp(const void *left, const void *right, size_t len)
{
	const unsigned char *a = left, *b = right;

	for (; len >= sizeof(word) && *(const word *)a == *(const word *)b; len -= sizeof(word)) {
		a += sizeof(word);
		b += sizeof(word);
	}
	for (; len > 0; len--, a++, b++)
		if (*a != *b)
			return *a - *b;
	return 0;
}
