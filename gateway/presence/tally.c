/*
 * Counting connections, see tally.h. State: for each worker a row of memory that the forks share,
 * which has the address of the connection at each of its descriptors. Only its worker writes a row,
 * or the parent once the worker is dead; the others read it. So nothing has to be locked, and a
 * worker that dies or hangs at any moment holds up nobody.
 */
#include "gateway/presence/tally.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

struct tally {
	size_t workers, most, row_size;
	char *rows;
	struct row *own;
	int64_t busy_ms; /* monotonic, when a connection was last seen; 0: nobody has looked */
};

struct row {
	_Atomic size_t connections;
	_Atomic size_t reach; /* no descriptor from here on has ever been a connection */
	_Atomic uint64_t who[]; /* client_address_key; 0: no connection */
};

static struct row *row_of(const struct tally *tally, size_t worker)
{
	return (struct row *)(void *)(tally->rows + (worker - 1) * tally->row_size);
}

struct tally *tally_new(size_t workers, size_t most)
{
	size_t row_size = sizeof(struct row) + most * sizeof(uint64_t);
	void *rows = mmap(NULL, workers * row_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tally *tally = NULL;

	if (rows != MAP_FAILED) {
		tally = xcalloc(1, sizeof(*tally));
		*tally = (struct tally){workers, most, row_size, rows, NULL, 0};
	}
	return tally;
}

void tally_free(struct tally *tally)
{
	if (tally)
		munmap(tally->rows, tally->workers * tally->row_size);
	free(tally);
}

void tally_count_as(struct tally *tally, size_t worker)
{
	tally_forget(tally, worker); /* its predecessor */
	tally->own = row_of(tally, worker);
}

void tally_add(struct tally *tally, int fd, const struct client_address *address)
{
	struct row *own = tally->own;
	size_t place = (size_t)fd;

	own->connections++;
	if (place >= tally->most)
		return;
	own->who[place] = client_address_key(address);
	if (own->reach <= place)
		own->reach = place + 1;
}

void tally_remove(struct tally *tally, int fd)
{
	tally->own->connections--;
	if ((size_t)fd < tally->most)
		tally->own->who[fd] = 0;
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
	uint64_t who = client_address_key(address);
	size_t count = 0;

	for (size_t worker = 1; worker <= tally->workers; worker++) {
		struct row *row = row_of(tally, worker);
		size_t reach = row->reach;

		for (size_t i = 0; i < reach; i++)
			count += atomic_load_explicit(&row->who[i], memory_order_relaxed) == who;
	}
	return count;
}

bool tally_is_idle(struct tally *tally, int64_t limit_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	if (tally->busy_ms == 0 || tally_connections(tally) > 0)
		tally->busy_ms = now_ms;
	if (limit_ms == 0 || now_ms - tally->busy_ms < limit_ms)
		return false;
	log_event(LOG_INFO, "nobody is connected any more",
		  log_number("since_s", (now_ms - tally->busy_ms) / 1000));
	return true;
}

void tally_forget(struct tally *tally, size_t worker)
{
	struct row *row = row_of(tally, worker);
	size_t reach = row->reach;

	row->connections = row->reach = 0;
	for (size_t i = 0; i < reach; i++)
		row->who[i] = 0;
}
