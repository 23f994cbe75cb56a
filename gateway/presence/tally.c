/*
 * Counting connections, see tally.h. State: for each worker a row of shared memory with a place for
 * each of its connections, which says of which address it is. Only its worker writes a row, or
 * the parent once the worker is dead; the others read it. So nothing has to be locked, and a worker
 * that dies or hangs at any moment holds up nobody.
 */
#include "gateway/presence/tally.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/alloc.h"

enum { TALLY_VERSION = 1, PREFIX_BYTES = 8 };

#define NO_PLACE UINT32_MAX

/* At the start of the shared memory; the rows follow. */
struct head {
	uint64_t version;
	uint64_t bytes, workers, most;
};

struct row {
	_Atomic size_t connections;
	_Atomic size_t reach; /* no place from here on has ever been taken */
	_Atomic uint64_t places[]; /* who_is of an address; 0: free */
};

struct tally {
	struct head *head;
	struct row *own; /* of the parent NULL */
	uint32_t *free_places; /* below own->reach */
	size_t free_count;
};

static size_t row_size(size_t most)
{
	return sizeof(struct row) + most * sizeof(uint64_t);
}

static size_t size_of(size_t workers, size_t most)
{
	return sizeof(struct head) + workers * row_size(most);
}

static struct row *row_of(const struct tally *tally, size_t worker)
{
	return (void *)((char *)(tally->head + 1) + (worker - 1) * row_size(tally->head->most));
}

int tally_share(size_t workers, size_t most)
{
	struct head head = {
		.version = TALLY_VERSION,
		.bytes = size_of(workers, most),
		.workers = workers,
		.most = most,
	};
	int fd = memfd_create("tally", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)head.bytes) == 0 &&
	    pwrite(fd, &head, sizeof(head), 0) == sizeof(head))
		return fd;
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

/* Whether this program can count in a table with this head. */
static const char *fault_in(const struct head *head, size_t bytes, size_t worker)
{
	if (head->version != TALLY_VERSION)
		return "it was made by another version of this program";
	if (head->bytes != bytes || size_of(head->workers, head->most) != bytes)
		return "it is not as large as it says";
	return worker > head->workers ? "it has no room for this worker" : NULL;
}

struct tally *tally_join(int fd, size_t worker, const char **why)
{
	struct stat info;
	struct head head;

	if (fstat(fd, &info) != 0 || pread(fd, &head, sizeof(head), 0) < 0) {
		*why = strerror(errno);
		return NULL;
	}
	*why = (size_t)info.st_size < sizeof(head) ? "it is not a tally"
						   : fault_in(&head, (size_t)info.st_size, worker);
	if (*why)
		return NULL;
	void *memory = mmap(NULL, head.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		*why = strerror(errno);
		return NULL;
	}

	struct tally *tally = xcalloc(1, sizeof(*tally));
	tally->head = memory;
	if (worker > 0) {
		tally_forget(tally, worker); /* of a predecessor */
		tally->own = row_of(tally, worker);
		tally->free_places = xcalloc(head.most, sizeof(uint32_t));
	}
	return tally;
}

struct tally *tally_new(size_t most, const char **why)
{
	int fd = tally_share(1, most);
	struct tally *tally = NULL;

	*why = strerror(errno);
	if (fd >= 0) {
		tally = tally_join(fd, 1, why);
		close(fd);
	}
	return tally;
}

void tally_free(struct tally *tally)
{
	if (!tally)
		return;
	munmap(tally->head, tally->head->bytes);
	free(tally->free_places);
	free(tally);
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
	else if (own->reach < tally->head->most)
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

	for (size_t worker = 1; worker <= tally->head->workers; worker++)
		sum += row_of(tally, worker)->connections;
	return sum;
}

size_t tally_of(const struct tally *tally, const struct client_address *address)
{
	uint64_t who = who_is(address);
	size_t count = 0;

	for (size_t worker = 1; worker <= tally->head->workers; worker++) {
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
