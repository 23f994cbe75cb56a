/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a hash of 64 bits under a secret key. For tables
 * whose keys come from outside: without the secret nobody can choose texts that collide, so no
 * sender can turn a look-up into a walk. Pure function.
 */
#ifndef SHARED_SIPHASH_H
#define SHARED_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

enum { SIPHASH_KEY_SIZE = 16 };

uint64_t siphash(const unsigned char key[SIPHASH_KEY_SIZE], const void *bytes, size_t len);

#endif
