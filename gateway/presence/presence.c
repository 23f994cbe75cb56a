/*
 * The loop's side of presence.h: slots and the thread's life. State: the slots, guarded by a mutex
 * that is never held while the database is used. presence_writer.c is the thread's side.
 */
#include "gateway/presence/presence.h"

#include <uv.h>

#include "gateway/presence/presence_writer.h"
#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum { FIRST_SLOTS = 64 };

static void free_presence(uv_handle_t *handle)
{
	struct presence *presence = handle->data;

	pthread_cond_destroy(&presence->wake);
	pthread_mutex_destroy(&presence->mutex);
	free(presence->slots);
	free(presence->address);
	totals_free(presence->totals);
	free(presence);
}

static void hand_out_counts(uv_async_t *async)
{
	struct presence *presence = async->data;
	struct gauges counts;
	bool known;

	pthread_mutex_lock(&presence->mutex);
	counts = presence->counts;
	known = presence->counts_known;
	pthread_mutex_unlock(&presence->mutex);
	if (!presence->stop)
		presence->options.counted(presence->options.context, known, &counts);
}

struct presence *presence_start(const struct presence_options *options, char why[DATABASE_WHY_SIZE])
{
	struct presence *presence = xcalloc(1, sizeof(*presence));
	pthread_condattr_t attributes;

	presence->options = *options;
	presence->totals = totals_new();
	presence->limits = housekeeping_limits_of(options->config);
	presence->address =
		xstrdup(options->address); /* the listener closes before the thread ends */
	presence->free_slot = presence->dirty_slot = NO_SLOT;
	pthread_mutex_init(&presence->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&presence->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	uv_async_init(options->loop, &presence->counted, hand_out_counts);
	presence->counted.data = presence;

	presence->writer = presence_writer_open(presence, why);
	if (!presence->writer) {
		uv_close((uv_handle_t *)&presence->counted, free_presence);
		return NULL;
	}
	if (pthread_create(&presence->thread, NULL, presence_writer_run, presence->writer) != 0) {
		fprintf(stderr, "cannot start a thread\n");
		abort();
	}
	return presence;
}

void presence_stop(struct presence *presence)
{
	if (!presence)
		return;
	pthread_mutex_lock(&presence->mutex);
	presence->stop = true;
	pthread_cond_signal(&presence->wake);
	pthread_mutex_unlock(&presence->mutex);
	pthread_join(presence->thread, NULL);
	presence_writer_close(presence->writer);
	uv_close((uv_handle_t *)&presence->counted, free_presence);
}

/* The free slots form a list, made so that the lowest numbers are used first. */
static uint32_t take_slot(struct presence *presence)
{
	if (presence->free_slot == NO_SLOT) {
		size_t old = presence->slot_count;
		size_t count = old ? old * 2 : FIRST_SLOTS;

		presence->slots = xreallocarray(presence->slots, count, sizeof(struct slot));
		for (size_t i = count; i-- > old;) {
			presence->slots[i] = (struct slot){.next_free = presence->free_slot};
			presence->free_slot = (uint32_t)i;
		}
		presence->slot_count = count;
	}

	uint32_t slot = presence->free_slot;
	presence->free_slot = presence->slots[slot].next_free;
	return slot;
}

/* Called with the mutex held. */
static void mark_dirty(struct presence *presence, uint32_t number)
{
	struct slot *slot = &presence->slots[number];

	if (!slot->dirty) {
		slot->dirty = true;
		slot->next_dirty = presence->dirty_slot;
		if (presence->dirty_slot == NO_SLOT)
			pthread_cond_signal(&presence->wake);
		presence->dirty_slot = number;
	}
}

uint32_t presence_join(struct presence *presence, const char *topic, size_t topic_len,
		       int64_t user_id, int64_t expires_s, const struct client_address *address)
{
	pthread_mutex_lock(&presence->mutex);
	uint32_t number = take_slot(presence);
	struct slot *slot = &presence->slots[number];
	slot->topic = topic;
	slot->topic_len = (uint16_t)topic_len;
	slot->user_id = user_id;
	slot->expires_s = expires_s;
	slot->address = *address;
	slot->connected_ms = clock_wall_ms();
	mark_dirty(presence, number);
	pthread_mutex_unlock(&presence->mutex);
	return number;
}

void presence_renew(struct presence *presence, uint32_t number, int64_t expires_s)
{
	pthread_mutex_lock(&presence->mutex);
	presence->slots[number].expires_s = expires_s;
	mark_dirty(presence, number);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_leave(struct presence *presence, uint32_t number)
{
	struct slot *slot;

	pthread_mutex_lock(&presence->mutex);
	slot = &presence->slots[number];
	slot->topic = NULL;
	slot->next_free = presence->free_slot;
	presence->free_slot = number;
	mark_dirty(presence, number);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_headcount(struct presence *presence, struct presence_headcount headcount)
{
	pthread_mutex_lock(&presence->mutex);
	presence->headcount = headcount;
	if (presence->dirty_slot == NO_SLOT) { /* the thread has already taken that change */
		presence->figures_changed = true;
		pthread_cond_signal(&presence->wake);
	}
	pthread_mutex_unlock(&presence->mutex);
}

void presence_position(struct presence *presence, int64_t last_event_id)
{
	pthread_mutex_lock(&presence->mutex);
	presence->last_event_id = last_event_id;
	pthread_mutex_unlock(&presence->mutex);
}

void presence_account(struct presence *presence, const struct counters *counters,
		      size_t outbox_bytes)
{
	struct presence_figures figures = {
		.counters = *counters,
		.outbox_bytes = (int64_t)outbox_bytes,
	};

	pthread_mutex_lock(&presence->mutex);
	figures.last_event_id = presence->last_event_id;
	if (memcmp(&figures, &presence->figures, sizeof(figures)) != 0) {
		presence->figures = figures;
		presence->figures_changed = true;
		pthread_cond_signal(&presence->wake);
	}
	pthread_mutex_unlock(&presence->mutex);
}

void presence_set_limits(struct presence *presence, struct housekeeping_limits limits)
{
	pthread_mutex_lock(&presence->mutex);
	presence->limits = limits;
	pthread_mutex_unlock(&presence->mutex);
}

void presence_count(struct presence *presence)
{
	pthread_mutex_lock(&presence->mutex);
	presence->count_wanted = true;
	pthread_cond_signal(&presence->wake);
	pthread_mutex_unlock(&presence->mutex);
}
