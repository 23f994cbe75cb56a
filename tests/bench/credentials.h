/*
 * The auth frame of a subscriber, with a token as the PHP backend makes them.
 */
#ifndef BENCH_CREDENTIALS_H
#define BENCH_CREDENTIALS_H

#include <stddef.h>
#include <stdint.h>

enum { CREDENTIALS_MAX = 1024 };

/* Writes {"type":"auth","token":...} with a token of `user_id` for `topic`, good for a day, signed
 * with `secret`; returns its length, without a NUL. `topic` needs no escaping in JSON. */
size_t credentials_write(char out[CREDENTIALS_MAX], const char *secret, const char *topic,
			 int64_t user_id);

#endif
