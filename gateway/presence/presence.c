/*
 * What both sides of presence.h share. State: the slots, and the latest values of everything else,
 * guarded by a mutex that is held just long enough to copy something, never while the database is
 * used.
 */
#include "gateway/presence/presence.h"

#include <pthread.h>
#include <uv.h>

#include "shared/base/alloc.h"
#include "shared/base/clock.h"

enum {
	FIRST_SLOTS = 64,
	WAIT_MS = 1000,
	GATHER_MS = 10, /* changes that come together are written together */
	RETRY_MS = 25 /* when the lock was taken */
};

#define NO_SLOT UINT32_MAX

struct slot {
	struct presence_session session;
	uint32_t next_free;
	uint32_t next_changed;
	bool is_changed; /* the table may say something different */
	bool is_written; /* the table has a row */
};

struct presence {
	uv_async_t answered;
	presence_answer *answer;
	void *context;

	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t wake;
	struct slot *slots;
	size_t slot_count;
	uint32_t free_slot, changed_slot; /* lists through the slots */
	struct presence_numbers numbers;
	struct housekeeping_limits limits;
	unsigned work; /* for the thread: enum presence_work */
	bool is_lost; /* see presence_write_again */
	bool is_answered;
	struct gauges gauges; /* the answer */
};

static void free_presence(uv_handle_t *handle)
{
	struct presence *presence = handle->data;

	pthread_cond_destroy(&presence->wake);
	pthread_mutex_destroy(&presence->mutex);
	free(presence->slots);
	free(presence);
}

static void hand_out_answer(uv_async_t *async)
{
	struct presence *presence = async->data;

	pthread_mutex_lock(&presence->mutex);
	struct gauges gauges = presence->gauges;
	bool is_answered = presence->is_answered, is_ending = presence->work & PRESENCE_END;
	pthread_mutex_unlock(&presence->mutex);
	if (!is_ending)
		presence->answer(presence->context, is_answered ? &gauges : NULL);
}

struct presence *presence_new(struct uv_loop_s *loop, struct housekeeping_limits limits,
			      presence_answer *answer, void *context)
{
	struct presence *presence = xcalloc(1, sizeof(*presence));
	pthread_condattr_t attributes;

	presence->answer = answer;
	presence->context = context;
	presence->limits = limits;
	presence->free_slot = presence->changed_slot = NO_SLOT;
	pthread_mutex_init(&presence->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&presence->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	uv_async_init(loop, &presence->answered, hand_out_answer);
	presence->answered.data = presence;
	return presence;
}

void presence_free(struct presence *presence)
{
	if (presence)
		uv_close((uv_handle_t *)&presence->answered, free_presence);
}

/* This and the next one are called with the mutex held. */
static void have_work(struct presence *presence, enum presence_work kind)
{
	if (!(presence->work & kind))
		pthread_cond_signal(&presence->wake);
	presence->work |= kind;
}

static void mark_changed(struct presence *presence, uint32_t number)
{
	struct slot *slot = &presence->slots[number];

	have_work(presence, PRESENCE_CHANGES);
	if (slot->is_changed)
		return;
	slot->is_changed = true;
	slot->next_changed = presence->changed_slot;
	presence->changed_slot = number;
}

uint32_t presence_join(struct presence *presence, const char *topic, size_t topic_len,
		       int64_t user_id, int64_t expires_s, const struct client_address *address,
		       enum transport transport)
{
	pthread_mutex_lock(&presence->mutex);
	/* As many again. The lowest numbers are used first, so that the table stays compact. */
	if (presence->free_slot == NO_SLOT) {
		size_t old = presence->slot_count, count = old ? old * 2 : FIRST_SLOTS;

		presence->slots = xreallocarray(presence->slots, count, sizeof(struct slot));
		for (size_t i = count; i-- > old;) {
			presence->slots[i] = (struct slot){.next_free = presence->free_slot};
			presence->free_slot = (uint32_t)i;
		}
		presence->slot_count = count;
	}
	uint32_t number = presence->free_slot;
	presence->free_slot = presence->slots[number].next_free;
	presence->slots[number].session = (struct presence_session){
		.topic = topic,
		.topic_len = (uint16_t)topic_len,
		.user_id = user_id,
		.expires_s = expires_s,
		.address = *address,
		.transport = (uint8_t)transport,
		.connected_ms = clock_wall_ms(),
	};
	mark_changed(presence, number);
	pthread_mutex_unlock(&presence->mutex);
	return number;
}

void presence_renew(struct presence *presence, uint32_t number, int64_t expires_s)
{
	pthread_mutex_lock(&presence->mutex);
	presence->slots[number].session.expires_s = expires_s;
	mark_changed(presence, number);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_leave(struct presence *presence, uint32_t number)
{
	pthread_mutex_lock(&presence->mutex);
	presence->slots[number].session.topic = NULL;
	presence->slots[number].next_free = presence->free_slot;
	presence->free_slot = number;
	mark_changed(presence, number);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_set_audience(struct presence *presence, struct presence_audience audience)
{
	pthread_mutex_lock(&presence->mutex);
	presence->numbers.audience = audience;
	have_work(presence, PRESENCE_CHANGES);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_set_position(struct presence *presence, int64_t last_event_id)
{
	pthread_mutex_lock(&presence->mutex);
	presence->numbers.last_event_id = last_event_id;
	pthread_mutex_unlock(&presence->mutex);
}

void presence_beat(struct presence *presence, const struct counters *counters, size_t outbox_bytes,
		   struct housekeeping_limits limits)
{
	pthread_mutex_lock(&presence->mutex);
	presence->numbers.counters = *counters;
	presence->numbers.outbox_bytes = (int64_t)outbox_bytes;
	presence->limits = limits;
	have_work(presence, PRESENCE_CHANGES);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_ask(struct presence *presence, enum presence_work work)
{
	pthread_mutex_lock(&presence->mutex);
	have_work(presence, work);
	pthread_mutex_unlock(&presence->mutex);
}

/* Waits for one of those kinds of work, until then. */
static void wait_for(struct presence *presence, unsigned kinds, int64_t wait_ms)
{
	int64_t at_ms = clock_monotonic_ms() + wait_ms;
	struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000};

	while (!(presence->work & kinds) &&
	       pthread_cond_timedwait(&presence->wake, &presence->mutex, &at) == 0)
		;
}

unsigned presence_wait(struct presence *presence, bool is_retry)
{
	const unsigned urgent = PRESENCE_QUESTION | PRESENCE_END;

	pthread_mutex_lock(&presence->mutex);
	if (!is_retry)
		wait_for(presence, PRESENCE_CHANGES | urgent, WAIT_MS);
	wait_for(presence, urgent, is_retry ? RETRY_MS : GATHER_MS);
	unsigned work = presence->work;
	presence->work &= ~(unsigned)PRESENCE_QUESTION;
	pthread_mutex_unlock(&presence->mutex);
	return work;
}

void presence_take(struct presence *presence, struct presence_batch *batch)
{
	uint32_t number;

	pthread_mutex_lock(&presence->mutex);
	batch->has_news |= presence->is_lost || presence->changed_slot != NO_SLOT ||
			   memcmp(&batch->numbers, &presence->numbers, sizeof(batch->numbers)) != 0;
	presence->is_lost = false;
	batch->numbers = presence->numbers;
	batch->limits = presence->limits;
	batch->count = 0;
	while (batch->count < PRESENCE_BATCH && (number = presence->changed_slot) != NO_SLOT) {
		struct presence_change *change = &batch->changes[batch->count++];
		struct slot *slot = &presence->slots[number];

		change->slot = number;
		change->was_written = slot->is_written;
		change->session = slot->session;
		if (slot->session.topic)
			memcpy(change->topic, slot->session.topic, slot->session.topic_len);
		presence->changed_slot = slot->next_changed;
		slot->is_changed = false;
		slot->is_written = slot->session.topic != NULL;
	}
	if (presence->changed_slot == NO_SLOT)
		presence->work &= ~(unsigned)PRESENCE_CHANGES;
	pthread_mutex_unlock(&presence->mutex);
}

void presence_write_again(struct presence *presence)
{
	pthread_mutex_lock(&presence->mutex);
	presence->is_lost = true;
	have_work(presence, PRESENCE_CHANGES);
	for (size_t i = 0; i < presence->slot_count; i++)
		if (presence->slots[i].session.topic)
			mark_changed(presence, (uint32_t)i);
	pthread_mutex_unlock(&presence->mutex);
}

void presence_give_back(struct presence *presence, const struct presence_batch *batch)
{
	pthread_mutex_lock(&presence->mutex);
	for (size_t i = 0; i < batch->count; i++) {
		const struct presence_change *change = &batch->changes[i];

		presence->slots[change->slot].is_written = change->was_written;
		mark_changed(presence, change->slot);
	}
	pthread_mutex_unlock(&presence->mutex);
}

void presence_answer_gauges(struct presence *presence, const struct gauges *gauges)
{
	pthread_mutex_lock(&presence->mutex);
	presence->is_answered = gauges != NULL;
	if (gauges)
		presence->gauges = *gauges;
	pthread_mutex_unlock(&presence->mutex);
	uv_async_send(&presence->answered);
}
