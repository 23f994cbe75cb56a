/*
 * The thread's side of presence.h, and what both sides share. Only the presence files include this.
 */
#ifndef GATEWAY_PRESENCE_WRITER_H
#define GATEWAY_PRESENCE_WRITER_H

#include <pthread.h>
#include <uv.h>

#include "gateway/presence/presence.h"
#include "shared/counters/totals.h"

#define NO_SLOT UINT32_MAX

/* One socket, or none: topic NULL. */
struct slot {
	const char *topic;
	int64_t user_id;
	int64_t expires_s;
	int64_t connected_ms;
	struct client_address address;
	uint32_t next_free;
	uint32_t next_dirty;
	uint16_t topic_len;
	bool dirty; /* the table may say something different */
	bool written; /* the table has a row; the thread's own */
};

/* What is written beside the sockets. */
struct presence_figures {
	struct counters counters; /* since the start */
	int64_t outbox_bytes;
	int64_t last_event_id;
	struct presence_headcount headcount; /* written with the sockets that changed it */
};

struct presence {
	struct presence_options options;
	char *address;
	struct presence_writer *writer;
	struct totals *totals; /* the thread's */
	pthread_t thread;
	uv_async_t counted;

	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t wake;
	struct slot *slots;
	size_t slot_count;
	uint32_t free_slot, dirty_slot;
	int64_t last_event_id;
	struct presence_headcount headcount;
	struct presence_figures figures;
	bool figures_changed;
	struct housekeeping_limits limits;
	bool count_wanted;
	bool counts_known;
	struct gauges counts;
	bool stop;
};

struct presence_writer;

struct presence_writer *presence_writer_open(struct presence *presence,
					     char why[DATABASE_WHY_SIZE]);
void presence_writer_close(struct presence_writer *writer);

/* The thread: `argument` is the writer. Returns when presence->stop is set. */
void *presence_writer_run(void *argument);

#endif
