/*
 * Counting connections by address, see address_counts.h. State: a table with open addressing that
 * doubles when three quarters of it are full and halves when an eighth is. Called once for each
 * connection that comes or goes; never blocks.
 *
 * Addresses come from outside (X-Forwarded-For), so they are hashed under a random key (siphash.h).
 */
#include "gateway/presence/address_counts.h"

#include <stdbool.h>
#include <stdint.h>
#include <sysexits.h>
#include <unistd.h>

#include "shared/base/alloc.h"
#include "shared/base/siphash.h"

enum { FEWEST_SLOTS = 64, PREFIX_BYTES = 8 };

struct slot {
	struct client_address address;
	uint32_t count; /* 0: the slot is free */
};

struct address_counts {
	unsigned char key[SIPHASH_KEY_SIZE];
	struct slot *slots;
	size_t size; /* a power of two */
	size_t used;
	bool is_borrowed; /* the slots: they stay as many as they are */
};

struct address_counts *address_counts_new(void)
{
	struct address_counts *counts = xcalloc(1, sizeof(*counts));

	if (getentropy(counts->key, sizeof(counts->key)) != 0) {
		fputs("no random numbers\n", stderr);
		_Exit(EX_OSERR);
	}
	counts->size = FEWEST_SLOTS;
	counts->slots = xcalloc(counts->size, sizeof(struct slot));
	return counts;
}

static size_t slots_for(size_t most)
{
	size_t size = FEWEST_SLOTS;

	while (size < most * 2)
		size *= 2;
	return size;
}

size_t address_counts_size(size_t most)
{
	return slots_for(most) * sizeof(struct slot);
}

struct address_counts *address_counts_over(void *memory, size_t most,
					   const unsigned char key[ADDRESS_COUNTS_KEY_SIZE])
{
	struct address_counts *counts = xcalloc(1, sizeof(*counts));

	_Static_assert((int)ADDRESS_COUNTS_KEY_SIZE == (int)SIPHASH_KEY_SIZE,
		       "the key is SipHash's");
	memcpy(counts->key, key, sizeof(counts->key));
	counts->slots = memory;
	counts->size = slots_for(most);
	counts->is_borrowed = true;
	return counts;
}

void address_counts_free(struct address_counts *counts)
{
	if (!counts)
		return;
	if (!counts->is_borrowed)
		free(counts->slots);
	free(counts);
}

/* What an address is known by: IPv6 by its first half, IPv4, which is mapped into ::/64, and
 * loopback by all of it. */
static struct client_address known_by(const struct client_address *address)
{
	static const unsigned char zeroes[PREFIX_BYTES];
	struct client_address known = *address;

	if (memcmp(known.bytes, zeroes, PREFIX_BYTES) != 0)
		memset(known.bytes + PREFIX_BYTES, 0, sizeof(known.bytes) - PREFIX_BYTES);
	return known;
}

static size_t home_of(const struct address_counts *counts, const struct client_address *known)
{
	return siphash(counts->key, known->bytes, sizeof(known->bytes)) & (counts->size - 1);
}

static size_t next_to(const struct address_counts *counts, size_t at)
{
	return (at + 1) & (counts->size - 1);
}

/* Where it is, or where it would go. */
static size_t find(const struct address_counts *counts, const struct client_address *known)
{
	size_t at = home_of(counts, known);

	while (counts->slots[at].count > 0 &&
	       !client_address_equal(&counts->slots[at].address, known))
		at = next_to(counts, at);
	return at;
}

static void resize(struct address_counts *counts, size_t size)
{
	struct slot *old = counts->slots;
	size_t old_size = counts->size;

	counts->slots = xcalloc(size, sizeof(struct slot));
	counts->size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].count > 0)
			counts->slots[find(counts, &old[i].address)] = old[i];
	free(old);
}

void address_counts_add(struct address_counts *counts, const struct client_address *address)
{
	struct client_address known = known_by(address);
	size_t at = find(counts, &known);

	if (counts->slots[at].count++ > 0)
		return;
	counts->slots[at].address = known;
	counts->used++;
	if (!counts->is_borrowed && counts->used > counts->size / 4 * 3)
		resize(counts, counts->size * 2);
}

/* Frees a slot; those behind it that were pushed on by it move up, so that no search ends before
 * them. */
static void take_out(struct address_counts *counts, size_t hole)
{
	counts->slots[hole].count = 0;
	for (size_t at = next_to(counts, hole); counts->slots[at].count > 0;
	     at = next_to(counts, at)) {
		size_t home = home_of(counts, &counts->slots[at].address);
		size_t from_home = (at - home) & (counts->size - 1);
		size_t from_hole = (at - hole) & (counts->size - 1);

		if (from_home < from_hole)
			continue; /* its home lies behind the hole */
		counts->slots[hole] = counts->slots[at];
		counts->slots[at].count = 0;
		hole = at;
	}
	counts->used--;
}

void address_counts_remove(struct address_counts *counts, const struct client_address *address)
{
	struct client_address known = known_by(address);
	size_t at = find(counts, &known);

	if (counts->slots[at].count == 0 || --counts->slots[at].count > 0)
		return;
	take_out(counts, at);
	if (!counts->is_borrowed && counts->size > FEWEST_SLOTS && counts->used < counts->size / 8)
		resize(counts, counts->size / 2);
}

size_t address_counts_get(const struct address_counts *counts, const struct client_address *address)
{
	struct client_address known = known_by(address);

	return counts->slots[find(counts, &known)].count;
}
