/*
 * What is published: a JSON object of a chosen length, with a sequence number and the time,
 *
 *	{"seq":"0000002a","at":"00000d1f3a2b4c5d","pad":"xxx..."}
 *
 * and what subscribers get of it, {"type":"push","payload":...}. Pure.
 */
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_PUSH_START "{\"type\":\"push\",\"payload\":"
#define PAYLOAD_PUSH_END "}"

enum { PAYLOAD_MIN = 51 };

/* Writes a payload of `len` bytes (PAYLOAD_MIN at least), without a NUL. */
void payload_write(char *out, size_t len, uint32_t sequence, int64_t at_ns);

/* True when `frame` is a push of a payload of `payload_len` bytes, each of them as it was written.
 */
bool payload_read(const char *frame, size_t len, size_t payload_len, uint32_t *sequence,
		  int64_t *at_ns);

#endif
