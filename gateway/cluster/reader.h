/*
 * The log of the cluster on its way into the database: entry by entry from the position that the
 * database holds, which moves in the same commit. So each comes once, whatever is killed in
 * between. The next ones are asked for when those before are there: what does not fit waits in
 * Redis.
 */
#ifndef GATEWAY_READER_H
#define GATEWAY_READER_H

#include <stdbool.h>

#include "gateway/cluster/rules.h"

struct cluster;
struct reader;

/* `on_caught_up`: all that was in the log when the link opened has been read. */
struct reader *reader_new(struct cluster *cluster, void (*on_caught_up)(struct cluster *cluster));

/* The handles close with the loop's next turn. NULL is allowed. */
void reader_free(struct reader *reader);

/* The link is up: reads on, or from the beginning, as the verdict demands. It was lost: if an
 * answer was too long, fewer entries are asked for until all has been read. */
void reader_on_link(struct reader *reader, enum log_verdict verdict, struct log_position newest);
void reader_on_link_lost(struct reader *reader, bool was_too_long);

#endif
