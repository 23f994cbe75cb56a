/*
 * How many different things there were: a set of hashes that is only counted. For as many as a
 * service has clients: two that have the same 64-bit hash would count as one. Pure but for memory.
 */
#ifndef SHARED_DISTINCT_H
#define SHARED_DISTINCT_H

#include <stddef.h>
#include <stdint.h>

struct distinct;

struct distinct *distinct_new(void);
void distinct_free(struct distinct *distinct);

/* Forgets all; the memory is kept for the next round. */
void distinct_clear(struct distinct *distinct);

void distinct_add(struct distinct *distinct, const void *bytes, size_t len);

int64_t distinct_count(const struct distinct *distinct);

#endif
