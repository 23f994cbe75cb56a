/*
 * The SQL with which the gateway's database thread writes: its `gateways` row, its `sessions` rows,
 * and the removal of what killed gateways left behind. Each function is a statement or two of the
 * caller's transaction. Only presence_writer.c includes this.
 */
#ifndef GATEWAY_PRESENCE_ROWS_H
#define GATEWAY_PRESENCE_ROWS_H

#include "gateway/presence/presence_writer.h"
#include "shared/contract/topic_name.h"

struct presence_rows;

/* A slot as it was when it was taken. */
struct presence_change {
	uint32_t number;
	struct slot slot;
	char topic[TOPIC_MAX_BYTES];
};

/* Of this process. Both are borrowed; `address` is where it listens. Free with presence_rows_free
 * before the database is closed. */
struct presence_rows *presence_rows_new(struct database *database, const char *address);
void presence_rows_free(struct presence_rows *rows);

enum database_status presence_rows_commit(struct presence_rows *rows);

/* Comes first: removes the rows that killed predecessors left, under our own pid too, counts the
 * topics anew, and adds our row. The connection has the function of gauges.h. */
enum database_status presence_rows_introduce(struct presence_rows *rows,
					     const struct presence_figures *figures);

/* The row of this gateway as it is now. */
enum database_status presence_rows_put_gateway(struct presence_rows *rows,
					       const struct presence_figures *figures);

/* The row of one socket, or its end. */
enum database_status presence_rows_put_change(struct presence_rows *rows,
					      const struct presence_change *change);

/* Comes last: removes our rows. */
enum database_status presence_rows_leave(struct presence_rows *rows);

#endif
