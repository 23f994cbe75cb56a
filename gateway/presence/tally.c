/*
 * Counting connections, see tally.h. State: for each worker a row of memory that the forks share,
 * with a place for each of its connections, which says of which address it is. Only its worker
 * writes a row, or the parent once the worker is dead; the others read it. So nothing has to be
 * locked, and a worker that dies or hangs at any moment holds up nobody.
 */
#include "gateway/presence/tally.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "shared/base/alloc.h"

#define NO_PLACE UINT32_MAX

struct row {
	_Atomic size_t connections;
	_Atomic size_t reach; /* no place from here on has ever been taken */
	_Atomic uint64_t places[]; /* who_is of an address; 0: free */
};

struct tally {
	void *rows;
	size_t workers, most;
	struct row *own;
	uint32_t *free_places; /* below own->reach */
	size_t free_count;
};

static size_t row_size(const struct tally *tally)
{
	return sizeof(struct row) + tally->most * sizeof(uint64_t);
}

static struct row *row_of(const struct tally *tally, size_t worker)
{
	return (void *)((char *)tally->rows + (worker - 1) * row_size(tally));
}

struct tally *tally_new(size_t workers, size_t most)
{
	struct tally *tally = xcalloc(1, sizeof(*tally));

	tally->workers = workers;
	tally->most = most;
	tally->rows = mmap(NULL, workers * row_size(tally), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally->rows != MAP_FAILED)
		return tally;
	free(tally);
	return NULL;
}

void tally_free(struct tally *tally)
{
	if (!tally)
		return;
	munmap(tally->rows, tally->workers * row_size(tally));
	free(tally->free_places);
	free(tally);
}

void tally_count_as(struct tally *tally, size_t worker)
{
	tally_forget(tally, worker); /* its predecessor */
	tally->own = row_of(tally, worker);
	tally->free_places = xreallocarray(tally->free_places, tally->most, sizeof(uint32_t));
	tally->free_count = 0;
}

/* IPv6 is known by its first half; IPv4, which is mapped into ::/64, and loopback by the second
 * one. Never 0, and never the same for two: no IPv6 address that is in use begins as IPv4 ends
 * here. */
static uint64_t who_is(const struct client_address *address)
{
	uint64_t halves[2];

	memcpy(halves, address->bytes, sizeof(halves));
	return ~(halves[0] ? halves[0] : halves[1]);
}

uint32_t tally_add(struct tally *tally, const struct client_address *address)
{
	struct row *own = tally->own;
	uint32_t place = NO_PLACE;

	own->connections++;
	if (tally->free_count > 0)
		place = tally->free_places[--tally->free_count];
	else if (own->reach < tally->most)
		place = (uint32_t)own->reach++;
	if (place != NO_PLACE)
		own->places[place] = who_is(address);
	return place;
}

void tally_remove(struct tally *tally, uint32_t place)
{
	tally->own->connections--;
	if (place == NO_PLACE)
		return;
	tally->own->places[place] = 0;
	tally->free_places[tally->free_count++] = place;
}

size_t tally_connections(const struct tally *tally)
{
	size_t sum = 0;

	for (size_t worker = 1; worker <= tally->workers; worker++)
		sum += row_of(tally, worker)->connections;
	return sum;
}

size_t tally_of(const struct tally *tally, const struct client_address *address)
{
	uint64_t who = who_is(address);
	size_t count = 0;

	for (size_t worker = 1; worker <= tally->workers; worker++) {
		struct row *row = row_of(tally, worker);
		size_t reach = row->reach;

		for (size_t i = 0; i < reach; i++)
			count += atomic_load_explicit(&row->places[i], memory_order_relaxed) == who;
	}
	return count;
}

void tally_forget(struct tally *tally, size_t worker)
{
	struct row *row = row_of(tally, worker);
	size_t reach = row->reach;

	row->connections = row->reach = 0;
	for (size_t i = 0; i < reach; i++)
		row->places[i] = 0;
}
