/*
 * The body of a request, taken out of its framing (RFC 9112, sections 6 and 7) as it comes in. Pure
 * functions; they read what strangers send.
 */
#ifndef GATEWAY_BODY_H
#define GATEWAY_BODY_H

#include <stddef.h>
#include <stdint.h>

/* Where a body stands, and how much is left of it, or of the chunk at hand. */
struct body {
	uint8_t place; /* body.c has the places */
	uint8_t digits; /* of a chunk's size */
	uint16_t framing; /* bytes that were not content */
	uint32_t left;
};

enum body_state { BODY_INCOMPLETE, BODY_WHOLE, BODY_MALFORMED };

/* One of that length, 0 for none; and one in chunks. */
struct body body_of_length(uint32_t len);
struct body body_in_chunks(void);

/* Takes `*len` bytes more. The body's content among them is moved to their start, and *len becomes
 * its length. Anything may follow the end of the body: it is left out. BODY_MALFORMED also when the
 * framing is many times longer than a body of MESSAGE_MAX_BYTES needs. */
enum body_state body_take(struct body *body, char *bytes, size_t *len);

#endif
