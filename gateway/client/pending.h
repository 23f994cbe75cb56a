/*
 * Connections that have not proved anything yet, in the order in which they came: handshakes under
 * way, sessions that have not authenticated, and those of them that are on their way out. When
 * there are too many, one must make room for a new one: first one that is leaving anyway, then the
 * one that has waited longest. So a flood of silent connections pushes out its own kind, and a
 * client that makes progress gets through, because each step takes it to the end of the queue.
 * Pure; one thread.
 */
#ifndef GATEWAY_PENDING_H
#define GATEWAY_PENDING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum pending_kind { PENDING_HANDSHAKE, PENDING_SESSION };
enum pending_stage { PENDING_NONE, PENDING_WAITING, PENDING_LEAVING, PENDING_STAGES };

/* Embedded in whatever waits; zeroed before its first use. */
struct pending {
	TAILQ_ENTRY(pending) entry;
	uint8_t kind, stage;
};

struct pending_list {
	TAILQ_HEAD(, pending) queues[PENDING_STAGES];
	size_t count;
};

/* Nothing waits. */
void pending_list_init(struct pending_list *list);

/* Puts it at the end of that stage's queue, from wherever it was. */
void pending_put(struct pending_list *list, struct pending *pending, enum pending_stage stage);

/* Does nothing when it is not in the list. */
void pending_remove(struct pending_list *list, struct pending *pending);

/* The one that makes room first, still in the list; NULL when there is none. */
struct pending *pending_first(const struct pending_list *list);

#endif
