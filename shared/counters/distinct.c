/*
 * Counting different things, see distinct.h. State: a table of hashes with free places (0), doubled
 * when it is half full, and its key. Never blocks.
 */
#include "shared/counters/distinct.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/siphash.h"

enum { FIRST_PLACES = 1024 };

struct distinct {
	unsigned char key[SIPHASH_KEY_SIZE];
	uint64_t *hashes;
	size_t places, used;
};

struct distinct *distinct_new(void)
{
	struct distinct *distinct = xcalloc(1, sizeof(*distinct));

	if (getentropy(distinct->key, sizeof(distinct->key)) != 0) {
		fputs("no random numbers\n", stderr);
		_Exit(EX_OSERR);
	}
	distinct->places = FIRST_PLACES;
	distinct->hashes = xcalloc(distinct->places, sizeof(uint64_t));
	return distinct;
}

void distinct_free(struct distinct *distinct)
{
	if (!distinct)
		return;
	free(distinct->hashes);
	free(distinct);
}

void distinct_clear(struct distinct *distinct)
{
	memset(distinct->hashes, 0, distinct->places * sizeof(uint64_t));
	distinct->used = 0;
}

/* Its place, or the free one where it belongs. */
static uint64_t *find(const struct distinct *distinct, uint64_t hash)
{
	size_t at = hash & (distinct->places - 1);

	while (distinct->hashes[at] != 0 && distinct->hashes[at] != hash)
		at = (at + 1) & (distinct->places - 1);
	return &distinct->hashes[at];
}

static void grow(struct distinct *distinct)
{
	uint64_t *old = distinct->hashes;
	size_t old_places = distinct->places;

	distinct->places *= 2;
	distinct->hashes = xcalloc(distinct->places, sizeof(uint64_t));
	for (size_t i = 0; i < old_places; i++)
		if (old[i] != 0)
			*find(distinct, old[i]) = old[i];
	free(old);
}

void distinct_add(struct distinct *distinct, const void *bytes, size_t len)
{
	uint64_t hash = siphash(distinct->key, bytes, len);
	uint64_t *place;

	if (hash == 0)
		hash = 1; /* 0 is a free place */
	place = find(distinct, hash);
	if (*place == hash)
		return;
	*place = hash;
	if (++distinct->used > distinct->places / 2)
		grow(distinct);
}

int64_t distinct_count(const struct distinct *distinct)
{
	return (int64_t)distinct->used;
}
