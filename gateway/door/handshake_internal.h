/* What handshake.c (reading) and handshake_check.c (judging) share. */
#ifndef GATEWAY_HANDSHAKE_INTERNAL_H
#define GATEWAY_HANDSHAKE_INTERNAL_H

#include "gateway/door/handshake.h"

/* Whether the two headers of an upgrade (RFC 9110, section 7.8) say what they must. */
struct upgrade_words {
	bool upgrade, connection;
};

/* True when it is this word, in any case. */
bool slice_is(struct slice text, const char *word);

/* True when the comma-separated list has this word. */
bool slice_lists(struct slice list, const char *word);

#endif
