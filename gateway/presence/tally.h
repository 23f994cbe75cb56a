/*
 * How many connections there are, in all and from each address, for max_connections and
 * max_connections_per_address: over all worker processes, in memory that they share. A process
 * alone counts in the same way, in memory of its own. An IPv6 client is known by the first 64 bits
 * of its address: whoever has one such address has all of them (RFC 6177). Never blocks.
 */
#ifndef GATEWAY_TALLY_H
#define GATEWAY_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/presence/client_address.h"

struct tally;

/* Memory for the tally of so many workers, each with at most `most` connections: a close-on-exec
 * descriptor, or -1 with errno. */
int tally_share(size_t workers, size_t most);

/* The tally in that memory for worker number `worker` (from 1), which begins with no connections,
 * or for the parent (0), who does not count. `fd` is borrowed. NULL with the reason in *why: a
 * table that another version of the program made is refused. */
struct tally *tally_join(int fd, size_t worker, const char **why);

/* For a process alone. NULL with the reason in *why. */
struct tally *tally_new(size_t most, const char **why);
void tally_free(struct tally *tally); /* NULL is allowed */

/* Returns the connection's place, for tally_remove. Beyond `most` it still counts in the total, but
 * not for its address. */
uint32_t tally_add(struct tally *tally, const struct client_address *address);
void tally_remove(struct tally *tally, uint32_t place);

/* Over all workers. tally_of looks at each connection: 40 microseconds with 65,536 of them. */
size_t tally_connections(const struct tally *tally);
size_t tally_of(const struct tally *tally, const struct client_address *address);

/* For the parent, once that worker is dead. */
void tally_forget(struct tally *tally, size_t worker);

#endif
