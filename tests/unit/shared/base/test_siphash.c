/*
 * SipHash-2-4 against its reference vectors, at every length of the tail and at any alignment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/base/alloc.h"
#include "shared/base/siphash.h"

/* Key 00 01 .. 0f, message 00 01 .. (len - 1): the authors' reference output, vectors.h. */
static const struct vector {
	size_t len;
	uint64_t hash;
} vectors[] = {
	{0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
	{2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
	{4, UINT64_C(0xcf2794e0277187b7)},  {5, UINT64_C(0x18765564cd99a68d)},
	{6, UINT64_C(0xcbc9466e58fee3ce)},  {7, UINT64_C(0xab0200f58b01d137)},
	{8, UINT64_C(0x93f5f5799a932462)},  {9, UINT64_C(0x9e0082df0ba9e4b0)},
	{15, UINT64_C(0xa129ca6149be45e5)},
};

static void fill(unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)i;
}

static void the_reference_vectors_come_out(void **state)
{
	unsigned char key[SIPHASH_KEY_SIZE];

	(void)state;
	fill(key, sizeof(key));
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		unsigned char *message = xreallocarray(NULL, vectors[i].len, 1);

		fill(message, vectors[i].len);
		assert_int_equal(siphash(key, message, vectors[i].len), vectors[i].hash);
		free(message);
	}
}

static void alignment_changes_nothing(void **state)
{
	unsigned char key[SIPHASH_KEY_SIZE], room[8 + 15];

	(void)state;
	fill(key, sizeof(key));
	for (size_t shift = 0; shift < 8; shift++) {
		fill(room + shift, 15);
		assert_int_equal(siphash(key, room + shift, 15), UINT64_C(0xa129ca6149be45e5));
	}
}

static void every_bit_of_key_and_message_counts(void **state)
{
	unsigned char key[SIPHASH_KEY_SIZE], message[19];
	uint64_t hash;

	(void)state;
	fill(key, sizeof(key));
	fill(message, sizeof(message));
	hash = siphash(key, message, sizeof(message));
	for (size_t bit = 0; bit < 8 * sizeof(key); bit++) {
		key[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_true(siphash(key, message, sizeof(message)) != hash);
		key[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * sizeof(message); bit++) {
		message[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_true(siphash(key, message, sizeof(message)) != hash);
		message[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reference_vectors_come_out),
		cmocka_unit_test(alignment_changes_nothing),
		cmocka_unit_test(every_bit_of_key_and_message_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
