/*
 * Events of other nodes on their way into the database, and how far each of those nodes has come
 * here. All but the reading is inside a transaction of the caller (cluster_store_begin).
 */
#ifndef GATEWAY_INTAKE_H
#define GATEWAY_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/cluster/envelope.h"
#include "gateway/cluster/rules.h"
#include "shared/database/database.h"

struct intake;

/* `database` is borrowed. Free it before the database is closed. NULL is allowed. */
struct intake *intake_new(struct database *database);
void intake_free(struct intake *intake);

/* Reads anew how far the nodes have come: to begin with, and when a transaction has failed. Unless
 * it is DATABASE_OK, nothing may be added. */
enum database_status intake_load(struct intake *intake);

/* What an entry of another node is after those that were added; `may_miss` as for entry_judge. */
enum database_status intake_judge(const struct intake *intake, const struct log_entry *entry,
				  bool may_miss, enum entry_verdict *verdict);

/* Adds one that is not ENTRY_KNOWN, a gap before it if there is one, and notes how far that node
 * has come. *is_refused: there are too many nodes, and it is passed by. */
enum database_status intake_add(struct intake *intake, const struct log_entry *entry,
				enum entry_verdict verdict, bool *is_refused);

/* Writes what was noted: before the commit. */
enum database_status intake_put(struct intake *intake);

/* An event of a foreign node. */
enum database_status intake_add_foreign(struct intake *intake, const char *origin,
					struct slice topic, struct slice payload);

#endif
