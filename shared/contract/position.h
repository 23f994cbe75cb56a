/*
 * How far a client has come among the events: what it is given with each push, hands back when it
 * comes again, and need not understand. A single node gives a number, the event's id. A node of a
 * cluster gives a text, for the client may come back to any node of it:
 *
 *	<node>-<id>-<own>.<other>-<newest>.<other>-<newest>...
 *
 * The client has had all events of the node that gave it, up to that `id` there; of the node's own
 * events the newest it has had is `own`, and of each other node's that one's `newest`, as they are
 * numbered where they come from. All in base 36. Pure functions; they read what strangers send.
 */
#ifndef SHARED_POSITION_H
#define SHARED_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most other nodes; and the size of the longest text, with quotes and a NUL. */
enum { POSITION_NODES = 32, POSITION_TEXT_SIZE = 2 + 3 * 14 + POSITION_NODES * 2 * 14 };

struct position {
	uint64_t node; /* that gave it; 0: a single one, and only `id` counts */
	int64_t id;
	int64_t own; /* 0: none, as below */
	unsigned count;
	struct {
		uint64_t node;
		int64_t newest;
	} others[POSITION_NODES];
};

/* One that a single node gives. */
void position_set_number(struct position *position, int64_t id);

/* Reads the text that a cluster gives. False when it is none that position_write makes. */
bool position_parse(const char *text, size_t len, struct position *out);

/* Writes it as JSON: a number, or a string. Returns its length. */
size_t position_write(const struct position *position, char out[POSITION_TEXT_SIZE]);

/* Reads `events.origin`: 16 hex digits, and after a point the event's number there (0: none). Both
 * are 0 when it is something else. */
void position_origin(const char *text, size_t len, uint64_t *node, int64_t *number);

/* The newest event of that node that it has had, by the node's numbers; 0: none. */
int64_t position_newest(const struct position *position, uint64_t node);

/* Sets that. A node for which there is no room is left out, and so is node 0. */
void position_set(struct position *position, uint64_t node, int64_t newest);

/* It has had all that `other` has had; both are of a cluster. `id` stays. */
void position_add(struct position *position, const struct position *other);

/* True when all that `other` has had of any node it has had too. */
bool position_reaches(const struct position *position, const struct position *other);

/* A client that has not had the same events as the node that it is at, `here`. */
struct client_position {
	struct position position; /* as if given here */
	int64_t nameless_id; /* it has had the events without a number up to this one */
};

/* It comes with `position`; what it has not had comes after `after_id` here, where `newest_id` is
 * the newest. */
void client_position_begin(struct client_position *client, const struct position *position,
			   uint64_t here, int64_t after_id, int64_t newest_id);

/* True when it has had that event, which has this id here, and at its node this number (0: none).
 */
bool client_position_covers(const struct client_position *client, int64_t id, uint64_t node,
			    int64_t number);

#endif
