/*
 * How many connections there are, in all and from each address, for max_connections and
 * max_connections_per_address: over all worker processes, in memory that they share. A process
 * alone counts in the same way, in memory of its own. Never blocks.
 */
#ifndef GATEWAY_TALLY_H
#define GATEWAY_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/contract/client_address.h"

struct tally;

/* The tally of that many workers, each with descriptors below `most`, in memory that forks share.
 * NULL with errno. Free with tally_free, which allows NULL. */
struct tally *tally_new(size_t workers, size_t most);
void tally_free(struct tally *tally);

/* From now on this process counts as worker number `worker` (from 1), which begins with nothing. */
void tally_count_as(struct tally *tally, size_t worker);

/* A connection by its descriptor. One that is not below `most` counts in the total, but not for its
 * address. */
void tally_add(struct tally *tally, int fd, const struct client_address *address);
void tally_remove(struct tally *tally, int fd);

/* Over all workers. tally_of looks at each connection: 40 microseconds with 65,536 of them. */
size_t tally_connections(const struct tally *tally);
size_t tally_of(const struct tally *tally, const struct client_address *address);

/* To be called about once a second, by one process. True, after logging it, when there has been no
 * connection for that long, as far as these calls can tell. 0: never. */
bool tally_is_idle(struct tally *tally, int64_t limit_ms);

/* For the parent, once that worker is dead. */
void tally_forget(struct tally *tally, size_t worker);

#endif
