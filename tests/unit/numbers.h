/*
 * Positions and ids as a single node gives them, for tests: numbers.
 */
#ifndef TESTS_UNIT_NUMBERS_H
#define TESTS_UNIT_NUMBERS_H

#include <inttypes.h>
#include <stdio.h>

#include "shared/contract/position.h"

/* Valid until the next call. */
static inline const struct position *number_position(int64_t id)
{
	static struct position position;

	position_set_number(&position, id);
	return &position;
}

/* For frame_of_push; NULL for 0. Valid until the next call. */
static inline const char *number_id(int64_t id)
{
	static char text[24];

	snprintf(text, sizeof(text), "%" PRId64, id);
	return id > 0 ? text : NULL;
}

#endif
