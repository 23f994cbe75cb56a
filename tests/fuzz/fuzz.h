/*
 * What every fuzzer includes. An input that breaks a property ends in assert(), whose text names
 * the property; libFuzzer then keeps the input.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The fuzzer itself: libFuzzer calls it with each input, an allocation of just `size` bytes.
 * Returns 0, or -1 for an input that is not worth keeping. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
