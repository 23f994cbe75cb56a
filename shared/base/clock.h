/*
 * The two clocks. Wall time is for what people and tokens see (expiries, rows in the database) and
 * may jump; monotonic time is for waiting and for ages, and never jumps. All processes see the same
 * until the next boot.
 */
#ifndef SHARED_CLOCK_H
#define SHARED_CLOCK_H

#include <stdint.h>

/* Unix time in milliseconds. */
int64_t clock_wall_ms(void);

/* Milliseconds since the machine started (CLOCK_MONOTONIC). */
int64_t clock_monotonic_ms(void);

/* The same two in microseconds, to measure with. */
int64_t clock_wall_us(void);
int64_t clock_monotonic_us(void);

#endif
