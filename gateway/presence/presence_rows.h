/*
 * The SQL with which the gateway's database thread writes: its `gateways` row, its `sessions` rows,
 * what it has counted, and the removal of what killed gateways left behind. Called on that thread
 * only; never waits for a lock, may block on the disk.
 */
#ifndef GATEWAY_PRESENCE_ROWS_H
#define GATEWAY_PRESENCE_ROWS_H

#include "gateway/presence/presence.h"

struct presence_rows;

/* Of this process, which listens at `address` (copied). `database` is borrowed and has the function
 * of gauges.h. Free with presence_rows_free, which allows NULL. */
struct presence_rows *presence_rows_new(struct database *database, const char *address);
void presence_rows_free(struct presence_rows *rows);

/* Writes all of it in one transaction. The first one also clears away the rows of dead gateways,
 * those under our own pid too, and counts the topics anew. Nothing is written unless it is
 * DATABASE_OK. */
enum database_status presence_rows_write(struct presence_rows *rows,
					 const struct presence_batch *batch);

/* Comes last: removes our rows, and adds the counters' last values to the totals. */
enum database_status presence_rows_leave(struct presence_rows *rows,
					 const struct counters *counters);

#endif
