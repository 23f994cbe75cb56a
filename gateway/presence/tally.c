/*
 * Counting connections, see tally.h. State: a table for each worker, in shared memory under a mutex
 * that is held for a few look-ups at a time; a holder that died leaves counts that are off by one
 * at most, and those are forgotten with it.
 */
#include "gateway/presence/tally.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/presence/address_counts.h"
#include "shared/base/alloc.h"

enum { MOST_WORKERS = 64 };

/* At the start of the shared memory; the tables follow. */
struct shared {
	pthread_mutex_t mutex;
	unsigned char key[ADDRESS_COUNTS_KEY_SIZE];
	size_t workers, most;
	size_t connections[MOST_WORKERS];
	alignas(max_align_t) unsigned char tables[];
};

struct tally {
	struct shared *shared; /* NULL: of one process */
	size_t mapped; /* bytes */
	size_t self; /* its table */
	size_t connections; /* of one process */
	size_t table_count;
	struct address_counts *tables[MOST_WORKERS];
};

struct tally *tally_new(void)
{
	struct tally *tally = xcalloc(1, sizeof(*tally));

	tally->tables[0] = address_counts_new();
	tally->table_count = 1;
	return tally;
}

void tally_free(struct tally *tally)
{
	if (!tally)
		return;
	for (size_t i = 0; i < tally->table_count; i++)
		address_counts_free(tally->tables[i]);
	if (tally->shared)
		munmap(tally->shared, tally->mapped);
	free(tally);
}

static void make_mutex(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

int tally_share(size_t workers, size_t most)
{
	size_t size = sizeof(struct shared) + workers * address_counts_size(most);
	int fd = memfd_create("tally", MFD_CLOEXEC);
	struct shared *shared = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED || getentropy(shared->key, sizeof(shared->key)) != 0) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		errno = error;
		return -1;
	}
	make_mutex(&shared->mutex);
	shared->workers = workers;
	shared->most = most;
	munmap(shared, size);
	return fd;
}

struct tally *tally_join(int fd, size_t worker)
{
	struct stat info;
	struct shared *shared;

	if (fstat(fd, &info) != 0)
		return NULL;
	shared = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		return NULL;

	struct tally *tally = xcalloc(1, sizeof(*tally));
	size_t table_size = address_counts_size(shared->most);
	tally->shared = shared;
	tally->mapped = (size_t)info.st_size;
	tally->self = worker > 0 ? worker - 1 : 0;
	tally->table_count = shared->workers;
	for (size_t i = 0; i < tally->table_count; i++)
		tally->tables[i] = address_counts_over(shared->tables + i * table_size,
						       shared->most, shared->key);
	return tally;
}

static void lock(struct tally *tally)
{
	if (tally->shared && pthread_mutex_lock(&tally->shared->mutex) == EOWNERDEAD)
		pthread_mutex_consistent(&tally->shared->mutex);
}

static void unlock(struct tally *tally)
{
	if (tally->shared)
		pthread_mutex_unlock(&tally->shared->mutex);
}

static size_t *own_connections(struct tally *tally)
{
	return tally->shared ? &tally->shared->connections[tally->self] : &tally->connections;
}

void tally_add(struct tally *tally, const struct client_address *address)
{
	lock(tally);
	++*own_connections(tally);
	address_counts_add(tally->tables[tally->self], address);
	unlock(tally);
}

void tally_remove(struct tally *tally, const struct client_address *address)
{
	lock(tally);
	--*own_connections(tally);
	address_counts_remove(tally->tables[tally->self], address);
	unlock(tally);
}

size_t tally_connections(struct tally *tally)
{
	size_t sum = 0;

	if (!tally->shared)
		return tally->connections;
	lock(tally);
	for (size_t i = 0; i < tally->table_count; i++)
		sum += tally->shared->connections[i];
	unlock(tally);
	return sum;
}

size_t tally_of(struct tally *tally, const struct client_address *address)
{
	size_t sum = 0;

	lock(tally);
	for (size_t i = 0; i < tally->table_count; i++)
		sum += address_counts_get(tally->tables[i], address);
	unlock(tally);
	return sum;
}

void tally_forget(struct tally *tally, size_t worker)
{
	size_t table_size = address_counts_size(tally->shared->most);

	lock(tally);
	tally->shared->connections[worker - 1] = 0;
	memset(tally->shared->tables + (worker - 1) * table_size, 0, table_size);
	unlock(tally);
}
