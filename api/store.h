/*
 * All SQL of the API. Each command is a transaction of its own, committed before DATABASE_OK is
 * returned; with `durability: full` it is on the disk by then. If only that has failed, the change
 * is there, but a power cut may still take it back.
 *
 * A command has one deadline for the write lock and SQLite's own lock together (busy_timeout).
 * After one has timed out, the next one waits only a tenth of that, and those that follow a
 * fortieth, until one succeeds: callers queued behind a locked database get their 503 before they
 * give up, instead of waiting one after the other.
 */
#ifndef API_STORE_H
#define API_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/command.h"
#include "shared/config/config.h"
#include "shared/database/database.h"

struct store;

/* `config` and `database`, which has the function of gauge_reader_new, are borrowed and must live
 * as long. Free with store_close, before the database is closed. */
struct store *store_open(const struct config *config, struct database *database);
void store_close(struct store *store);

struct store_result {
	bool done; /* false for a register: there are max_topics already; for a publish: there is no
		      such topic, or it has expired */
	int64_t number; /* publish: the event's id; disconnect: how many sockets there are */
};

/* Does what the command says, and adds the orders to the gateways that follow from it.
 * worker.status is always registered: callers answer for it. */
enum database_status store_execute(struct store *store, const struct command *command,
				   struct store_result *result);

/* Around several reads of the database, so that all of them see the same moment. Call
 * store_read_end even if store_read_begin has failed, and write only after it. */
enum database_status store_read_begin(struct store *store);
void store_read_end(struct store *store);

/* Whether a gateway is alive, without a look at what it has. */
enum database_status store_has_gateway(struct store *store, bool *has);

/* Calls `each` for the live topics (or for those with a subscriber, when `active`) in byte order,
 * for at most `limit` (-1: all). */
typedef void store_topic_visitor(void *context, const char *topic, size_t topic_len);
enum database_status store_topics(struct store *store, bool active, int64_t limit,
				  store_topic_visitor *each, void *context);

#endif
