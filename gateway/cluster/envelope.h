/*
 * What nodes tell each other, as bytes: a message of the channel, which nodes of either kind send,
 * and an entry of the log, which only ours do. Whatever comes in is hostile until it has been read
 * here. Payloads are pointed at, never written anew. Pure functions; no allocation.
 */
#ifndef GATEWAY_ENVELOPE_H
#define GATEWAY_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/slice.h"
#include "shared/contract/topic_name.h"
#include "shared/counters/counters.h"
#include "shared/database/schema.h"

enum {
	NODE_ID_LEN = 16, /* hex digits, in lower case */
	ENVELOPE_PAYLOAD_MAX = 1024 * 1024,
	/* What a message has around its payload: each byte of the topic may be escaped (\u0041). */
	ENVELOPE_HEAD_MAX = 128 + 6 * TOPIC_MAX_BYTES,
	ENVELOPE_MAX_BYTES = ENVELOPE_PAYLOAD_MAX + ENVELOPE_HEAD_MAX
};

/* Why something was refused: in the order of the counters. */
enum envelope_fault {
	ENVELOPE_GOOD,
	ENVELOPE_TOO_BIG,
	ENVELOPE_NOT_UTF8,
	ENVELOPE_NOT_JSON, /* or, for a message, JSON but not an object */
	ENVELOPE_MALFORMED, /* something is missing, or of another type or form */
	ENVELOPE_BAD_TOPIC
};

/* What counts it, unless it is ENVELOPE_GOOD; the counter's label is its name for the log. */
enum counter envelope_counter(enum envelope_fault fault);

/* True for the id of a node. */
bool node_id_is_valid(struct slice id);

/* A message of the channel. */
struct envelope {
	char origin[NODE_ID_LEN + 1]; /* with a NUL */
	size_t topic_len;
	char topic[TOPIC_MAX_BYTES];
	struct slice payload; /* inside the message, or a constant "null" */
};

/* Names of members are matched in any case, the last one of a name counts, and others are ignored.
 * Unless it is ENVELOPE_GOOD, *out says nothing. */
enum envelope_fault envelope_read(struct slice message, struct envelope *out);

/* Writes text that has no control characters as the inside of a string of JSON: at most twice as
 * long, and no NUL. Returns its length. */
size_t envelope_escape(char *out, struct slice text);

/* {"origin_id":"<origin>","topic":"<topic>","payload": as far as the payload, which comes behind
 * it, and then a "}". The topic is valid. Returns its length, which a NUL follows. */
size_t envelope_write_head(char out[ENVELOPE_HEAD_MAX], const char origin[NODE_ID_LEN],
			   struct slice topic);

/* What the key of a topic holds: {"require_token":true} or false. Constant. */
const char *topic_value(bool require_token);

/* Reads it as the existing nodes do: {} and null are an open topic, and whatever else does not fit
 * is none. A longer one than TOPIC_VALUE_MAX is ENVELOPE_TOO_BIG. */
enum { TOPIC_VALUE_MAX = 4096 };
enum envelope_fault topic_value_read(struct slice value, bool *require_token);

/* An entry of the log, and what it calls the kinds of events; others stay at home. */
extern const char *const log_kinds[EVENT_DISCONNECT + 1];

struct log_entry {
	char origin[NODE_ID_LEN + 1]; /* with a NUL */
	int64_t id; /* the event's number at its origin */
	int64_t prev; /* of its origin's event before it in the log; 0: none */
	enum event_kind kind; /* push, unregister or disconnect */
	struct slice topic; /* NULL: of a disconnect, whatever the topic */
	bool has_user; /* of a disconnect: that user's sockets only */
	int64_t user;
	int64_t created_ms; /* wall clock of its origin */
	struct slice payload; /* of a push */
};

/* `fields`: names and values by turns, in any order; unknown names are ignored, and of two with the
 * same name the last one counts. The slices of *out are theirs. Unless it is ENVELOPE_GOOD, *out
 * says nothing. */
enum envelope_fault log_entry_read(const struct slice *fields, size_t count, struct log_entry *out);

#endif
