/* What store.c (opening, and all that writes) and store_read.c share. Nobody else includes it. */
#ifndef API_STORE_INTERNAL_H
#define API_STORE_INTERNAL_H

#include "api/store.h"

struct store {
	const struct config *config;
	struct database *database;
	struct census *census;
	struct gauge_reader *gauges;
	enum database_status last; /* of the last operation */
	int timeouts; /* of the last writes in a row, see store.c */

	sqlite3_stmt *begin_read, *commit;
	sqlite3_stmt *register_topic;
	sqlite3_stmt *delete_topic, *add_event;
	sqlite3_stmt *publish, *is_registered;
	sqlite3_stmt *all_topics, *active_topics, *count_sockets;
};

/* The reads' statements. Finalize them before the database is closed. */
void store_prepare_reads(struct store *store);
void store_finalize_reads(struct store *store);

/* Remembers the status for store_why. */
static inline enum store_outcome store_outcome_of(struct store *store, enum database_status status)
{
	store->last = status;
	return status == DATABASE_OK ? STORE_OK : STORE_UNAVAILABLE;
}

#endif
