/*
 * How many connections there are, in all and from each address, for the limits. Of one process in
 * its own memory; of several workers in memory that they share, so that the limits hold over all of
 * them. What a worker had when it died is taken back by its parent.
 */
#ifndef GATEWAY_TALLY_H
#define GATEWAY_TALLY_H

#include <stddef.h>

#include "gateway/presence/client_address.h"

struct tally;

/* Of one process. Free with tally_free, which allows NULL. */
struct tally *tally_new(void);
void tally_free(struct tally *tally);

/* Memory for the tally of so many workers, of which each has at most `most` connections: a
 * descriptor, close-on-exec, or -1 with errno. */
int tally_share(size_t workers, size_t most);

/* The tally in that memory for worker number `worker` (from 1), or for their parent (0), who does
 * not count. `fd` is borrowed. NULL with errno. */
struct tally *tally_join(int fd, size_t worker);

void tally_add(struct tally *tally, const struct client_address *address);
void tally_remove(struct tally *tally, const struct client_address *address);

/* Over all workers. */
size_t tally_connections(struct tally *tally);
size_t tally_of(struct tally *tally, const struct client_address *address);

/* By the parent: that worker is dead. */
void tally_forget(struct tally *tally, size_t worker);

#endif
