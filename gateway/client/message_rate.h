/*
 * How fast one client may send messages: a token bucket that holds two seconds' worth, kept as one
 * number (the "generic cell rate algorithm"). Pure.
 */
#ifndef GATEWAY_MESSAGE_RATE_H
#define GATEWAY_MESSAGE_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum { MESSAGE_BURST_S = 2 };

/* A message has come at `now_ms` (monotonic). False when that is more than `per_second` allows (0:
 * anything is); it is not counted then. *paid_us is the client's account, 0 in the beginning. */
bool message_rate_take(int64_t *paid_us, int64_t now_ms, int64_t per_second);

#endif
