/*
 * Groups of subscribers, see group.h. State: a short list of the groups. Blocks in the event loop
 * while it connects.
 */
#include "tests/bench/group.h"

#include <inttypes.h>

#include "shared/base/alloc.h"
#include "tests/bench/fail.h"
#include "tests/bench/loop.h"

enum { MOST_GROUPS = 64 };
static const int64_t stall_ns = INT64_C(20) * 1000 * 1000 * 1000;

static struct group *groups[MOST_GROUPS];

static void add_to_list(struct group *group)
{
	for (size_t i = 0; i < MOST_GROUPS; i++) {
		if (!groups[i]) {
			groups[i] = group;
			return;
		}
	}
	fail("too many groups");
}

struct group *group_find(const char *name)
{
	for (size_t i = 0; i < MOST_GROUPS; i++)
		if (groups[i] && strcmp(groups[i]->name, name) == 0)
			return groups[i];
	return NULL;
}

static void start_some(struct group *group)
{
	size_t underway = (size_t)group->options.underway;

	while (group->started < group->count && group->started - group->open < underway) {
		subscriber_start(&group->subscribers[group->started], group,
				 (size_t)group->options.first + group->started);
		group->started++;
	}
}

struct group *group_connect(const struct group_options *options)
{
	struct group *group = xcalloc(1, sizeof(*group));
	size_t open_before = 0;
	int64_t moved_ns = loop_now_ns();

	snprintf(group->name, sizeof(group->name), "%s", options->name);
	group->options = *options;
	group->count = (size_t)options->count;
	group->subscribers = xcalloc(group->count, sizeof(struct subscriber));
	add_to_list(group);
	while (group->open < group->count) {
		start_some(group);
		loop_turn(stall_ns);
		if (group->open > open_before)
			moved_ns = loop_now_ns();
		else if (loop_now_ns() - moved_ns > stall_ns)
			fail("only %zu of %zu connections were made", group->open, group->count);
		open_before = group->open;
	}
	group->options = (struct group_options){.name = group->name};
	return group;
}

void group_clear(struct group *group)
{
	group->sent = group->receipts = group->missed = group->repeated = group->corrupt =
		group->closed = 0;
	samples_clear(&group->deliveries);
}

int64_t group_behind(const struct group *group)
{
	int64_t behind = 0;

	for (size_t i = 0; i < group->count; i++)
		behind += memcmp(group->subscribers[i].received, group->published,
				 sizeof(group->published)) != 0;
	return behind;
}

bool group_all_delivered(const struct group *group)
{
	return group->receipts + group->missed >= group->sent * (int64_t)group->count;
}

void group_drop(struct group *group)
{
	for (size_t i = 0; i < group->count; i++)
		subscriber_drop(&group->subscribers[i]);
	for (size_t i = 0; i < MOST_GROUPS; i++)
		if (groups[i] == group)
			groups[i] = NULL;
	samples_free(&group->deliveries);
	free(group->subscribers);
	free(group);
}
