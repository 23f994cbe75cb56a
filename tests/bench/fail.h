/*
 * How a tool of the benchmark ends when it cannot go on: a line on stderr that says why, and exit
 * code 1. A measurement is either right or not there.
 */
#ifndef BENCH_FAIL_H
#define BENCH_FAIL_H

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

/* The same, with the text of errno behind it. */
__attribute__((noreturn)) void fail_errno(const char *what);

#endif
