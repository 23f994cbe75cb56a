/*
 * For tests of who listens to what: topics by their names as C strings.
 */
#ifndef TESTS_UNIT_SUBSCRIPTIONS_FIXTURE_H
#define TESTS_UNIT_SUBSCRIPTIONS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "gateway/events/subscriptions.h"
#include "shared/base/alloc.h"

static inline struct subscriptions *subscriptions_new(void)
{
	return xcalloc(1, sizeof(struct subscriptions));
}

static inline void subscriptions_free(struct subscriptions *subscriptions)
{
	subscriptions_clear(subscriptions);
	free(subscriptions);
}

static inline void add(struct subscriptions *subscriptions, struct subscriber *subscriber,
		       const char *name)
{
	subscriptions_add(subscriptions, subscriber, name, strlen(name));
}

static inline struct topic *find(const struct subscriptions *subscriptions, const char *name)
{
	return subscriptions_find(subscriptions, name, strlen(name));
}

static inline size_t count_of(const struct topic *topic)
{
	return topic->count;
}

#endif
